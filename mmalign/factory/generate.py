"""Pictures, or clips, of prompts by models, drawn shard by shard."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import Tensor

from mmalign.config.generate import FPS, GenerateConfig, GeneratorConfig
from mmalign.diffusion.draw import Drawn, eight_bits
from mmalign.errors import UserError
from mmalign.factory.encode import encoded
from mmalign.factory.models import Models
from mmalign.factory.requests import Plan, Request
from mmalign.factory.rows import BLOCKED, NO_NUMBERS, Rows, schema
from mmalign.factory.shown import told
from mmalign.prompts import load_prompts
from mmalign.resumable.chunks import dealt
from mmalign.resumable.parts import FOUND, WRITTEN, Speech
from mmalign.resumable.processes import Processes
from mmalign.resumable.progress import Progress
from mmalign.resumable.shard_folder import ShardFolder
from mmalign.scorers.written import files_named
from mmalign.scoring.pictures import digest

SPEECH = Speech(anew="draw anew", found="the prompts are others")

# what the pictures do not depend on; of the prompts, what they are counts and not where they stand
_FREE = {"out", "overwrite", "prompts", "limit"}


def run(config: GenerateConfig, processes: Processes | None = None) -> str:
    """Draws as configured, and gives what to show; nothing in any process but the main one.

    Args:
        config: what to draw, and how.
        processes: those that share the run; None = found.

    Raises:
        UserError: prompts or a model are not there, the output is there already or was begun with other settings, or the disk is full.
        KeyboardInterrupt: with what was saved.
    """
    processes = processes or Processes.found()
    prompts = distinct(load_prompts(config.prompts)[: config.limit])
    with closing(ShardFolder(config.out, SPEECH)) as shards, closing(Models(config)) as models:
        plan = Plan(prompts, config, models.films)
        seen = digest(plan.prompts)
        processes.agree(seen, lambda: shards.begin(settings(config, seen), config.overwrite), "prompts")
        processes.take_device()
        _draw_all(config, plan, models, shards, processes)
        if not processes.is_main:
            return ""
        shards.finish()
        return told(config.out)


def settings(config: GenerateConfig, prompts: str) -> dict[str, Any]:
    """What a run must share with the one that it continues.

    Args:
        prompts: what tells them from others.
    """
    files = {model.title: digest(list(files_named(_places(model)))) for model in config.models}
    return {**config.model_dump(mode="json", exclude=_FREE), FOUND: prompts, WRITTEN: files}


def _places(model: GeneratorConfig) -> list[str]:
    """Folders that hold what a model is made of, and their subfolders."""
    named = [Path(place).expanduser() for place in (model.pretrained, model.adapter_path, model.vae) if place is not None]
    inner = [folder for place in named if place.is_dir() for folder in sorted(place.iterdir()) if folder.is_dir()]
    return [str(place) for place in (*named, *inner)]


def distinct(prompts: Sequence[str]) -> list[str]:
    """Prompts without those that were there before, which would give the same pictures again."""
    return list(dict.fromkeys(prompts))


def _draw_all(config: GenerateConfig, plan: Plan, models: Models, shards: ShardFolder, processes: Processes) -> None:
    """Does this process's shards, and those that others have left."""
    easel, form = Easel(config, models), schema(config, models.films)
    with Progress(shards, plan.sizes, processes.is_main, "drawing", "drawn") as progress, closing(easel):
        for number in dealt(len(plan.shards), processes.rank, processes.world, lambda: shards.missing(len(plan.shards))):
            rows: list[Future[Mapping[str, Any]]] = []
            for batch in plan.batches_of(number):
                if shards.done(number):
                    break  # another process was faster
                rows += easel.draw(batch)
                progress.add(len(batch))
            if len(rows) == plan.sizes[number]:
                shards.write(number, pa.Table.from_pylist([row.result() for row in rows], schema=form))
            progress.recount()


class Easel:
    """Draws batches, and encodes the pictures of one while the next is being drawn.

    Args:
        config: models, and the format of the pictures.
        models: what draws.
    """

    def __init__(self, config: GenerateConfig, models: Models):
        self._config, self._models, self._rows = config, models, Rows(config, models.told)
        self._threads = ThreadPoolExecutor(Processes.found().threads, thread_name_prefix="encode")
        self._proven: set[int] = set()

    def draw(self, batch: Sequence[Request]) -> list[Future[Mapping[str, Any]]]:
        """The batch's rows, to come.

        Raises:
            UserError: the model's first pictures are all without numbers, as half precision may make them.
        """
        number = batch[0].model
        drawn = self._models.draw(number, [request.prompt for request in batch], [request.noise_seed for request in batch])
        errors = list(_errors(drawn))
        if all(error == NO_NUMBERS for error in errors) and number not in self._proven:
            model = self._config.models[number]
            raise UserError(f"{model.title} gives no numbers in {model.dtype}; choose another dtype, or a vae made for it")
        self._proven.add(number)
        pictures = eight_bits(drawn.pictures.nan_to_num())
        return [self._threads.submit(self._row, *each) for each in zip(batch, pictures, errors, strict=True)]

    def _row(self, request: Request, picture: Tensor, error: str | None) -> Mapping[str, Any]:
        image = encoded(picture, self._config.image_format, self._config.quality, self._config.fps or FPS)
        return self._rows.row(request, image, picture.shape, error)

    def close(self) -> None:
        """Ends the threads; what they have not begun is left."""
        self._threads.shutdown(cancel_futures=True)


def _errors(drawn: Drawn) -> Iterator[str | None]:
    for picture, blocked in zip(drawn.pictures, drawn.blocked, strict=True):
        yield BLOCKED if blocked else None if picture.isfinite().all() else NO_NUMBERS
