"""Scoring from its configuration."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from mmalign import plugins
from mmalign.config import ScoreConfig
from mmalign.config.scoring import SHARED, nested
from mmalign.errors import UserError
from mmalign.frames import said
from mmalign.resumable.chunks import Chunks, dealt
from mmalign.resumable.parts import FOUND, WRITTEN, Parts, PartsInMemory, PartsOnDisk, Speech
from mmalign.resumable.processes import Processes
from mmalign.resumable.progress import Progress
from mmalign.reward import Reward
from mmalign.scorers.written import files_named
from mmalign.scoring.decode import decoded_groups
from mmalign.scoring.output import schema, to_table, write_table
from mmalign.scoring.panel import Panel
from mmalign.scoring.pictures import Listing, Picture, digest
from mmalign.scoring.screen import told
from mmalign.scoring.sources import open_pictures

LOOK = 32
"""Rows between two looks at whether another process has done the chunk."""

SPEECH = Speech(anew="score anew", found="the images are others")

# what the scores do not depend on; a reward's dtype is among its own fields
_FREE = {"out", "overwrite", "workers", *SHARED}


def run(config: ScoreConfig, processes: Processes | None = None) -> str:
    """Scores as configured, writes the table where one is asked for, and gives what to show; nothing in any process but the main one.

    Args:
        config: what to score, and how.
        processes: those that share the run; None = found.

    Raises:
        UserError: there are no images, prompts or columns as asked for; the output is there already or was begun with other settings;
            or nothing could be scored.
        KeyboardInterrupt: with what was saved.
    """
    processes = processes or Processes.found()
    if config.out is None and processes.world > 1:
        raise UserError("several processes need a place to meet; give --out FILE on a disk that all of them share")
    pictures = open_pictures(config)
    _require_prompts(pictures, _known_needs(config))
    with closing(PartsInMemory() if config.out is None else PartsOnDisk(config.out, SPEECH)) as parts:
        if isinstance(parts, PartsOnDisk):
            processes.agree(pictures.state, lambda: parts.begin(_settings(config, pictures), config.overwrite))
        processes.take_device()
        rewards: dict[str, Reward] = {reward.title: reward.build() for reward in config.filled_rewards()}
        _require_prompts(pictures, {title: reward.needs_prompt for title, reward in rewards.items()})
        _score(config, pictures, Panel(rewards), parts, processes)
        return _finished(config, pictures, rewards, parts) if processes.is_main else ""


def _score(config: ScoreConfig, pictures: Listing, panel: Panel, parts: Parts, processes: Processes) -> None:
    """Does this process's chunks, and those that others have left."""
    chunks = Chunks(len(pictures), config.chunk_size, pictures.prompts() if panel.joint else None)
    form = schema(panel.rewards, config.judged_frames if pictures.moving else None)
    workers = processes.threads if config.workers is None else config.workers
    rows_of = _rows(pictures, chunks, parts, processes)
    groups = decoded_groups(rows_of, workers, whole_prompts=panel.joint, count=panel.at_once, judged=config.judged_frames)
    number, rows = -1, []
    with Progress(parts, chunks.sizes, processes.is_main, "scoring", "scored") as progress, closing(groups):
        for group in groups:
            if group[0].chunk != number:
                number, rows = group[0].chunk, []
            if parts.done(number):
                continue  # another process was faster
            rows += panel.score(group)
            progress.add(len(group))
            if len(rows) == chunks.size(number):
                parts.write(number, to_table(rows, form))
                progress.recount()


def _rows(pictures: Listing, chunks: Chunks, parts: Parts, processes: Processes) -> Iterator[tuple[int, int, Picture | UserError]]:
    """The rows that this process should do, chunk by chunk; a chunk is left where another process has done it."""
    for number in dealt(len(chunks), processes.rank, processes.world, lambda: parts.missing(len(chunks))):
        for place, index in enumerate(chunks.rows(number)):
            if place % LOOK == 0 and parts.done(number):
                break
            try:
                yield number, index, pictures.picture(index)
            except UserError as error:
                yield number, index, error


def _require_prompts(pictures: Listing, needed: Mapping[str, bool]) -> None:
    """Raises UserError where no image has a prompt and a reward needs one."""
    for title, needs in needed.items():
        if needs and not pictures.prompted:
            places = "--prompt TEXT, --prompts-file, --prompt-column, or NAME.txt beside each NAME.png"
            raise UserError(f"{title} needs prompts and the images have none; give {places}")


def _known_needs(config: ScoreConfig) -> dict[str, bool]:
    """Which rewards need prompts, before any model is loaded; rewards made of others are left out, as only they know."""
    alone = [reward for reward in config.rewards if not nested(reward)]
    return {reward.title: plugins.load(reward.package, reward.name).needs_prompt for reward in alone}


def _settings(config: ScoreConfig, pictures: Listing) -> dict[str, Any]:
    """What a run must share with the one that it continues."""
    settings = config.model_dump(mode="json", exclude=_FREE | {"rewards"})
    rewards = [decisive(reward.model_dump(mode="json")) for reward in config.filled_rewards()]
    changing = {"the images or their prompts": pictures.written()}
    changing |= {reward.title: digest(list(files_named(reward.fields()))) for reward in config.filled_rewards()}
    return {**settings, "rewards": rewards, FOUND: pictures.state, WRITTEN: changing}


def decisive(value: Any) -> Any:
    """A reward's keys without those that change no score."""
    if isinstance(value, dict):
        return {key: decisive(each) for key, each in value.items() if key not in ("device", "batch_size")}
    return [decisive(each) for each in value] if isinstance(value, list) else value


def _finished(config: ScoreConfig, pictures: Listing, rewards: Mapping[str, Reward], parts: Parts) -> str:
    """Puts the parts together; writes nothing where there is no score at all, so that the next run starts anew."""
    table = parts.merged()
    scored = any(table.column(title).null_count < len(table) for title in rewards)
    if isinstance(parts, PartsOnDisk):
        merged = parts.folder / f"merged{parts.out.suffix}"
        if scored:
            write_table(table, merged)
        parts.finish(merged if scored else None)
    if not scored:
        first = table.column("error").drop_null()
        because = f", the first because: {first[0]}" if len(first) else ""
        raise UserError(f"none of the {len(table)} images could be scored{because}; correct that, and give the command again")
    found = f"{pictures.told}\n{said(config.judged_frames)}" if pictures.moving else pictures.told
    shown = told(table, rewards, found, everything=config.out is None)
    return shown if config.out is None else f"{shown}\n\n{config.out}"
