"""``mmalign data mia``: prompts built, answered and chosen shard by shard."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from mmalign.config.mia import MiaConfig
from mmalign.errors import UserError
from mmalign.factory.gallery import shown_of
from mmalign.factory.mia.export import export
from mmalign.factory.mia.mining import Miner
from mmalign.factory.mia.plan import Plan, requests
from mmalign.factory.mia.report import facts_of, layouts, page
from mmalign.factory.mia.rows import row, schema
from mmalign.factory.mia.tally import Tally, total
from mmalign.factory.mined import left_out, shard
from mmalign.factory.questions import Questions
from mmalign.factory.seated import model_files, seated
from mmalign.files import write_whole
from mmalign.resumable.chunks import dealt
from mmalign.resumable.parts import FOUND, WRITTEN, Speech
from mmalign.resumable.processes import Processes
from mmalign.resumable.progress import Progress
from mmalign.resumable.shard_folder import ShardFolder
from mmalign.scoring.pictures import digest
from mmalign.scoring.terminal import aligned

SPEECH = Speech(anew="start anew", found="the questions are others")

# what the preferences do not depend on; of the questions FOUND tells
_FREE = {"out", "overwrite", "data", "export"}


def run(config: MiaConfig, processes: Processes | None = None) -> str:
    """Makes preferences as configured, and gives what to show; nothing in any process but the main one.

    Args:
        config: the questions, the model, and what is kept.
        processes: those that share the run; None = found.

    Raises:
        UserError: questions or the model are not there, the output is there already or was begun with other settings, or nothing is kept.
        KeyboardInterrupt: with what was saved.
    """
    processes = processes or Processes.found()
    rows = Questions(config.data)
    groups = rows.groups(config.pool)
    plan = Plan(requests(len(rows), config.kinds, config.seed), config.batch_size, config.shard_size)
    with closing(ShardFolder(config.out, SPEECH)) as shards:
        seen = digest([rows.state(), *(groups or ())])
        processes.agree(seen, lambda: shards.begin(_settings(config, seen), config.overwrite), "questions")
        processes.take_device()
        _mine_all(config, rows, groups, plan, shards, processes)
        return _finished(config, shards) if processes.is_main else ""


def _settings(config: MiaConfig, seen: str) -> dict[str, Any]:
    return {**config.model_dump(mode="json", exclude=_FREE), FOUND: seen, WRITTEN: {"the model": model_files(config.vlm)}}


def _mine_all(
    config: MiaConfig, rows: Questions, groups: Sequence[str] | None, plan: Plan, shards: ShardFolder, processes: Processes
) -> None:
    """Does this process's shards, and those that others have left."""
    missing = shards.missing(len(plan.sizes))
    with Progress(shards, plan.sizes, processes.is_main, "asking", "answered", "prompt") as progress:
        miner = Miner(seated(config.vlm), rows, config, groups, processes.threads) if missing else None
        for number in dealt(len(plan.sizes), processes.rank, processes.world, lambda: shards.missing(len(plan.sizes))):
            assert miner is not None
            shards.write(number, _table(config, plan, number, miner, progress))
            progress.recount()


def _table(config: MiaConfig, plan: Plan, number: int, miner: Miner, progress: Progress) -> pa.Table:
    mined, shown = miner.mined(plan.shard_of(number)), shown_of(number, len(plan.sizes), config.shown)
    return shard(mined, Tally(), shown, lambda one: row(one, config.image_format), schema(), progress.add)


def _finished(config: MiaConfig, shards: ShardFolder) -> str:
    """Writes the report, and gives the folder its name unless it is empty."""
    tally = total(shards.metadata())
    report = config.out.with_name(f"{config.out.name}.html")
    write_whole(report, page(tally, config).encode())
    write_whole(report.with_suffix(".json"), facts_of(tally, config))
    if not tally.kept:
        shards.discard()
        why = "; ".join(f"{reason} ({count})" for reason, count in tally.reasons().most_common(3))
        raise UserError(f"none of {len(tally.answers)} answers is kept: {why}; look at {report}, and change the limits")
    places = [str(config.out), str(report)]
    if config.export is not None:
        places.append(str(export(map(shards.read, shards.numbers()), config.export)))
    shards.finish()
    return "\n\n".join([told(tally), "\n".join(places)])


def told(tally: Tally) -> str:
    """What a terminal shows."""
    head = f"kept {tally.kept:,} of {len(tally.answers):,} answers as rejected ones"
    tables = [["layout", "pictures", "prompts", "kept", "share"], *layouts(tally)], [["left out", "answers"], *left_out(tally)]
    return "\n\n".join([head, *("\n".join(aligned(table, left=(0,))) for table in tables if len(table) > 1)])
