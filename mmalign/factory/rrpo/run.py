"""``mmalign data rrpo``: films spoiled, answers asked for and chosen shard by shard."""

from contextlib import closing
from typing import Any

from mmalign.config.responses import VlmConfig
from mmalign.config.rrpo import RrpoConfig
from mmalign.errors import UserError
from mmalign.factory.gallery import shown_of
from mmalign.factory.mia.rows import schema
from mmalign.factory.mined import left_out, shard
from mmalign.factory.questions import Questions
from mmalign.factory.rrpo.mining import Helpers, Miner
from mmalign.factory.rrpo.report import facts_of, forms, page
from mmalign.factory.rrpo.rewrite import load_rewriter
from mmalign.factory.rrpo.rows import COLUMNS, row
from mmalign.factory.rrpo.tally import Tally, total
from mmalign.factory.seated import model_files, seated
from mmalign.files import write_whole
from mmalign.resumable.chunks import dealt
from mmalign.resumable.parts import FOUND, WRITTEN, Speech
from mmalign.resumable.processes import Processes
from mmalign.resumable.progress import Progress
from mmalign.resumable.shard_folder import ShardFolder
from mmalign.scorers.written import files_named
from mmalign.scoring.pictures import digest
from mmalign.scoring.terminal import aligned

SPEECH = Speech(anew="start anew", found="the questions are others")

# what the preferences do not depend on; of the questions FOUND tells
_FREE = {"out", "overwrite", "data"}


def run(config: RrpoConfig, processes: Processes | None = None) -> str:
    """Makes preferences as configured, and gives what to show; nothing in any process but the main one.

    Args:
        config: the questions, the models, and what is kept.
        processes: those that share the run; None = found.

    Raises:
        UserError: questions or a model are not there, the output is there already or was begun with other settings, or nothing is kept.
        KeyboardInterrupt: with what was saved.
    """
    processes = processes or Processes.found()
    rows = Questions(config.data)
    size = -(-config.shard_size // config.batch_size) * config.batch_size
    shares = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
    with closing(ShardFolder(config.out, SPEECH)) as shards:
        seen = rows.state()
        processes.agree(seen, lambda: shards.begin(_settings(config, seen), config.overwrite), "questions")
        processes.take_device()
        with Progress(shards, [len(share) for share in shares], processes.is_main, "asking", "answered", "row") as progress:
            miner = _miner(config, rows, processes) if shards.missing(len(shares)) else None
            for number in dealt(len(shares), processes.rank, processes.world, lambda: shards.missing(len(shares))):
                assert miner is not None
                shown = shown_of(number, len(shares), config.shown)
                mined = miner.mined(shares[number])
                shards.write(number, shard(mined, Tally(), shown, lambda one: row(one, config.image_format), schema(COLUMNS), progress.add))
                progress.recount()
        return _finished(config, shards) if processes.is_main else ""


def _settings(config: RrpoConfig, seen: str) -> dict[str, Any]:
    models = {"the model": "" if config.vlm.pretrained is None else model_files(VlmConfig(**config.vlm.model_dump()))}
    models |= {judge.title: digest(list(files_named(judge.fields()))) for judge in config.judges}
    models |= {"the text model": digest(list(files_named(config.rewriter.pretrained)))} if config.rewriter.pretrained else {}
    return {**config.model_dump(mode="json", exclude=_FREE), FOUND: seen, WRITTEN: models}


def _miner(config: RrpoConfig, rows: Questions, processes: Processes) -> Miner:
    """The models, loaded."""
    family = None if config.vlm.pretrained is None else seated(VlmConfig(**config.vlm.model_dump()))
    rewriter = None if config.rewriter.pretrained is None else load_rewriter(config.rewriter)
    helpers = Helpers([judge.build() for judge in config.judges], rewriter)
    return Miner(family, rows, config, helpers, config.given, processes.threads)


def _finished(config: RrpoConfig, shards: ShardFolder) -> str:
    """Writes the report, and gives the folder its name unless it is empty."""
    tally = total(shards.metadata())
    report = config.out.with_name(f"{config.out.name}.html")
    write_whole(report, page(tally, config).encode())
    write_whole(report.with_suffix(".json"), facts_of(tally, config))
    if not tally.kept:
        shards.discard()
        why = "; ".join(f"{reason} ({count})" for reason, count in tally.reasons().most_common(3))
        raise UserError(f"none of {len(tally.rows)} rows is kept: {why}; look at {report}, and change the settings")
    shards.finish()
    return "\n\n".join([told(tally), f"{config.out}\n{report}"])


def told(tally: Tally) -> str:
    """What a terminal shows."""
    head = f"kept {tally.kept:,} of {len(tally.rows):,} rows"
    tables = [["form of the answer", "rows", "kept", "share"], *forms(tally)], [["left out", "rows"], *left_out(tally)]
    return "\n\n".join([head, *("\n".join(aligned(table, left=(0,))) for table in tables if len(table) > 1)])
