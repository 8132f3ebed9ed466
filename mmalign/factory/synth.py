"""A whole preference set: pictures drawn, scored and ranked, each stage where it stood."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from mmalign.config.frames import JUDGED
from mmalign.config.generate import GenerateConfig
from mmalign.config.load import save_resolved
from mmalign.config.rank import RankConfig
from mmalign.config.scoring import ScoreConfig
from mmalign.config.synth import SynthConfig
from mmalign.errors import UserError
from mmalign.factory import generate, rank
from mmalign.factory.memory import let_go
from mmalign.files import write_whole
from mmalign.prompts import load_prompts
from mmalign.resumable.parts import difference
from mmalign.resumable.processes import Processes
from mmalign.scoring import run as scoring
from mmalign.scoring.pictures import digest

RECORD = "stages.json"
"""What each stage was begun with."""


@dataclass(frozen=True)
class Stage:
    """A step of the recipe.

    Attributes:
        name: what messages call it.
        out: what is there once it is done, and not before.
        settings: what its output depends on, as JSON can say it.
        run: does it, or goes on with it; gives what to show.
        cheap: whether it is simply done again where its settings are others.
    """

    name: str
    out: Path
    settings: Mapping[str, Any]
    run: Callable[[Processes], str]
    cheap: bool = False


def run(config: SynthConfig, say: Callable[[str], None]) -> Path:
    """Makes the set, and gives the folder with the preferences.

    Args:
        config: the recipe.
        say: is told by the main process what each stage did.

    Raises:
        UserError: as the stages do; or a set was begun there with other settings, which the message names.
        KeyboardInterrupt: with what was saved.
    """
    processes = Processes.found()
    folder = config.output_dir
    processes.told(lambda: _prepare(config))
    steps = list(stages(config))
    for number, stage in enumerate(steps, start=1):
        shown = _pass(stage, folder / RECORD, processes)
        if processes.is_main:
            say(f"[{number}/{len(steps)}] {stage.name}\n\n{shown}\n")
    return steps[-1].out


def stages(config: SynthConfig) -> Iterator[Stage]:
    """The steps of a recipe, in order: one for the pictures, one for each reward, one for the preferences."""
    drawing = drawing_of(config)
    seen = digest(generate.distinct(load_prompts(config.prompts)[: config.limit]))
    known = generate.settings(drawing, seen)
    yield Stage("generate", drawing.out, known, lambda processes: generate.run(drawing, processes))
    scorings = [_scoring(title, scoring_of) for title, scoring_of in scorings_of(config).items()]
    yield from scorings
    ranking = ranking_of(config)
    settings = ranking.model_dump(mode="json", exclude={"out", "overwrite", "workers", "pictures", "scores"})
    settings["scored"] = {stage.name: stage.settings for stage in scorings}
    yield Stage("rank", ranking.out, settings, lambda processes: rank.run(ranking, processes), cheap=True)


def drawing_of(config: SynthConfig) -> GenerateConfig:
    """The first stage's own configuration."""
    return GenerateConfig(**_keys(config.generate), prompts=config.prompts, limit=config.limit, out=config.output_dir / "pictures")


def scorings_of(config: SynthConfig) -> dict[str, ScoreConfig]:
    """The configuration of each scoring by the reward's title: one reward at a time, as several large ones may not fit together."""
    pictures, folder, shared = config.output_dir / "pictures", config.output_dir / "scores", _keys(config.score)
    filled = zip(config.score.rewards, config.score.filled_rewards(), strict=True)
    without = dict.fromkeys(("device", "dtype", "batch_size"))
    return {
        reward.title: ScoreConfig(**{**shared, **without, "rewards": [full]}, images=[str(pictures)], out=folder / _file(reward.title))
        for reward, full in filled
    }


def ranking_of(config: SynthConfig) -> RankConfig:
    """The last stage's own configuration."""
    scores = [str(scoring_of.out) for scoring_of in scorings_of(config).values()]
    pictures, out = config.output_dir / "pictures", config.output_dir / "preferences"
    return RankConfig(**_keys(config.rank), pictures=str(pictures), scores=scores, out=out)


def _scoring(title: str, config: ScoreConfig) -> Stage:
    assert config.out is not None
    settings = {"reward": scoring.decisive(config.rewards[0].model_dump(mode="json")), "chunk_size": config.chunk_size}
    settings |= {"judged_frames": config.judged_frames} if config.judged_frames != JUDGED else {}
    return Stage(f"score {title}", config.out, settings, lambda processes: scoring.run(config, processes))


def _keys(section: Any) -> dict[str, Any]:
    return {name: getattr(section, name) for name in type(section).model_fields}


def _file(title: str) -> str:
    return f"{quote(title, safe=' ')}.parquet"


def _prepare(config: SynthConfig) -> None:
    """Makes the folder ready, and empty where that was asked for."""
    folder = config.output_dir
    if folder.exists() and not (folder / RECORD).exists() and any(folder.iterdir()):
        raise UserError(f"{folder} holds something else, which is never overwritten; give the name of a new folder as output_dir")
    if config.overwrite and folder.exists():
        shutil.rmtree(folder)
    if not (folder / RECORD).exists():
        write_whole(folder / RECORD, b"{}")
    save_resolved(config.model_copy(update={"overwrite": False}), folder / "synth.yaml")


def _pass(stage: Stage, record: Path, processes: Processes) -> str:
    """Does a stage, unless it is done, and waits until it is."""
    if processes.told(lambda: _state(stage, record)) == "done":
        return f"done before: {stage.out}"
    try:
        shown = stage.run(processes)
    finally:
        let_go()
    processes.told(lambda: None)  # the main process has put the output in its place
    return shown


def _state(stage: Stage, record: Path) -> Literal["done", "to do"]:
    """Whether a stage is done with the settings it now has; if not, it is noted that it is begun with them.

    Raises:
        UserError: it was begun with others, and what it made is not given up silently.
    """
    known = json.loads(record.read_text(encoding="utf-8"))
    before = known.get(stage.name)
    change = None if before is None else difference(before, stage.settings, generate.SPEECH.found)
    if change is not None and not stage.cheap:
        remedy = "give the same to go on, another output_dir, or --overwrite to start anew"
        raise UserError(f"{record.parent} holds a set whose stage {stage.name} is another: {change}; {remedy}")
    if change is not None:
        _remove(stage.out)
    if before is None or change is not None:
        write_whole(record, json.dumps({**known, stage.name: stage.settings}, indent=1).encode())
    return "done" if stage.out.exists() else "to do"


def _remove(out: Path) -> None:
    """Removes what a stage made, and what it has begun."""
    for folder in (out, out.with_name(f"{out.name}.parts")):
        shutil.rmtree(folder, ignore_errors=True)
