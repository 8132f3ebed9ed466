"""From scored pictures to preferences, prompt by prompt, shard by shard."""

from contextlib import closing
from typing import Any

from mmalign.config.rank import LabelsConfig, RankConfig
from mmalign.errors import UserError
from mmalign.factory.ranker import Ranker
from mmalign.factory.scored import Scored, open_scored
from mmalign.factory.tally import told, total
from mmalign.resumable.chunks import Chunks, dealt
from mmalign.resumable.parts import FOUND, WRITTEN, Speech
from mmalign.resumable.processes import Processes
from mmalign.resumable.progress import Progress
from mmalign.resumable.shard_folder import ShardFolder

SPEECH = Speech(anew="rank anew", found="the pictures or their scores are others")
OF_PICTURES, OF_CLIPS = 64, 8
"""Prompts in a shard, unless said: its pictures are in memory together."""
ROWS = {"ranking": "rankings", "best_worst": "pairs", "adjacent": "pairs", "all_pairs": "pairs"}

# what the preferences do not depend on; of the tables, what stands in them counts and not where
_FREE = {"out", "overwrite", "workers", "pictures", "scores", "image_column", "prompt_column", "split"}


def run(config: RankConfig, processes: Processes | None = None) -> str:
    """Ranks as configured, and gives what to show; nothing in any process but the main one.

    Args:
        config: what to rank, and how.
        processes: those that share the run; None = found.

    Raises:
        UserError: tables or columns are not as asked for, the output is there already or was begun with other settings, or nothing is left.
        KeyboardInterrupt: with what was saved.
    """
    processes = processes or Processes.found()
    scored = open_scored(config)
    ranker = Ranker(config, scored)
    with closing(ShardFolder(config.out, SPEECH)) as shards:
        processes.agree(scored.state, lambda: shards.begin(_settings(config, scored), config.overwrite), "pictures or scores")
        _rank_all(config, ranker, shards, processes)
        return _finished(config, scored, shards) if processes.is_main else ""


def _settings(config: RankConfig, scored: Scored) -> dict[str, Any]:
    return {**config.model_dump(mode="json", exclude=_FREE), FOUND: scored.state, WRITTEN: {"the pictures": scored.pictures.written()}}


def _rank_all(config: RankConfig, ranker: Ranker, shards: ShardFolder, processes: Processes) -> None:
    groups = ranker.scored.groups()
    chunks = Chunks(len(groups), config.shard_size or (OF_CLIPS if ranker.scored.pictures.moving else OF_PICTURES))
    workers = processes.threads if config.workers is None else config.workers
    with Progress(shards, chunks.sizes, processes.is_main, "ranking", "ranked", "prompt") as progress:
        for number in dealt(len(chunks), processes.rank, processes.world, lambda: shards.missing(len(chunks))):
            shards.write(number, ranker.table(number, [groups[place] for place in chunks.rows(number)], workers, progress))
            progress.recount()


def _finished(config: RankConfig, scored: Scored, shards: ShardFolder) -> str:
    """Gives the folder its name, unless it is empty."""
    tally = total(shards.metadata())
    unprompted = sum(prompt is None for prompt in scored.prompts)
    tally.pictures += unprompted
    if unprompted:
        tally.left["pictures: no prompt"] += unprompted
    shown = told(tally, ROWS[config.keep], f"{_label_of(config)} of {', '.join(scored.names)}")
    if not tally.kept:
        shards.discard()
        why = "; ".join(f"{why} ({count})" for why, count in tally.left.most_common(3)) or "there are no prompts"
        raise UserError(f"none of {tally.candidates} {ROWS[config.keep]} is kept: {why}; lower the thresholds, or look at the scores")
    shards.finish()
    return f"{shown}\n\n{config.out}"


def _label_of(config: LabelsConfig) -> str:
    return {"vote": "vote", "weighted_sum": "weighted sum", "standardized_sum": "sum of standardized scores"}[config.label]
