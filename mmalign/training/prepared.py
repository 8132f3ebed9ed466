"""What a run on pictures has before its model is trained: the data, encoded, and the pipeline, of which only what was needed was loaded."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from accelerate import Accelerator

from mmalign import pipelines
from mmalign.config import RunConfig
from mmalign.data.broken import first_readable
from mmalign.data.buckets import Buckets
from mmalign.data.cache_folder import CacheFolder
from mmalign.data.digest import digest
from mmalign.data.fingerprint import FileDigests
from mmalign.data.schema import Example
from mmalign.diffusion.family import DiffusionFamily
from mmalign.objective import Objective
from mmalign.personalization.denoiser import check_takes_users
from mmalign.training import online
from mmalign.training.bucketing import glance
from mmalign.training.dataset import EncodedExamples
from mmalign.training.encode import Share, encode
from mmalign.training.films import check_films
from mmalign.training.fixed_draws import FixedDraws, check_errors_suffice
from mmalign.training.opened import Held, OnDisk, Opened
from mmalign.training.people import RunUsers, trained_people
from mmalign.training.preferences import check_candidates, load_examples
from mmalign.training.prompted import encoders_trained
from mmalign.training.views import Chosen


@dataclass(frozen=True)
class Prepared:
    """Data and pipeline of a run.

    Attributes:
        config: its configuration, with the defaults of the model's family filled in.
        objective: the method.
        opened: the pipeline.
        caches: what was encoded, and the reference's errors.
        examples: the preferences as the method takes them, of which rows were made.
        dataset: the rows.
        total: rows of all the data, also where a dry run has prepared a few.
        buckets: those of all the data, as far as a dry run can tell; None = all rows are cut to squares.
        people: whom the rows are for; None = nobody asks.
    """

    config: RunConfig
    objective: Objective
    opened: Opened
    caches: CacheFolder
    examples: Sequence[Example]
    dataset: EncodedExamples
    total: int
    buckets: Buckets | None
    people: RunUsers | None = None

    @property
    def draws_pictures(self) -> bool:
        """Whether pictures are drawn during the run."""
        return self.config.online is not None or bool(self.config.validation.steps and self.config.validation.prompts)


def prepared(
    config: RunConfig, accelerator: Accelerator, rows: int | None = None, pipe: Any = None, examples: Sequence[Example] | None = None
) -> Prepared:
    """Reads the data and encodes what is not in the caches yet.

    Args:
        rows: prepare so many rows only, and leave nothing on the disk: a dry run. None = all.
        pipe: a pipeline that is already there, in place of ``config.model``.
        examples: preferences that are already there, in place of ``config.data.source``.
    """
    opened = opened_for(config, accelerator, pipe, writes=rows is None)
    check_films(opened.family, config)
    tokens = bool(encoders_trained(opened.family, config.adapter))
    config = filled(config, opened.family)
    objective = config.method.build()
    check_errors_suffice(objective, config.data.reference_draws)
    examples, people = load_examples(config.data, lazily=True) if examples is None else examples, None
    if config.users is not None:
        check_takes_users(opened.family.pipe)
        examples, people = trained_people(config.users, examples)
    examples = online.taken(config.online, objective, examples)
    drawn = 0 if config.online is None else config.online.adds
    check_candidates(objective, first_readable(examples), drawn)
    total, buckets = len(examples), None
    if rows is not None:
        places, buckets = glance(opened.family, config.data, examples, rows)
        examples = Chosen(examples, places)
    caches = CacheFolder.at(config.data.cache_dir, writes=rows is None)
    share = Share(accelerator.process_index, accelerator.num_processes, accelerator.wait_for_everyone)
    dataset = encode(opened, examples, config.data, objective, config.seed, share, accelerator.is_main_process, drawn, caches, tokens)
    dataset.draws, dataset.people = fixed_draws(opened, config, objective, accelerator), people
    total = len(dataset) if rows is None else total
    rows_of = Chosen(examples, dataset.places)
    return Prepared(config, objective, opened, caches, rows_of, dataset, total, buckets or dataset.buckets, people)


def filled(config: RunConfig, family: DiffusionFamily) -> RunConfig:
    """A configuration with the family's defaults of the method, and the model's own of how pictures are drawn."""
    update = {"method": config.method.resolved_for(family.name), "validation": family.settled(config.validation)}
    return config.model_copy(update=update | ({} if config.online is None else {"online": family.settled(config.online)}))


def opened_for(config: RunConfig, accelerator: Accelerator, pipe: Any, writes: bool) -> Opened:
    """The pipeline that the configuration names, or one that is there already; ``writes``: whether digests of its files are kept."""
    if pipe is not None:
        return Held(pipelines.load(pipe, options=pipelines.options_of(config.model)), accelerator.device)
    folder = config.data.cache_dir
    return OnDisk(config.model, accelerator.device, FileDigests(None if folder is None else folder.expanduser(), writes))


def fixed_draws(opened: Opened, config: RunConfig, objective: Objective, accelerator: Accelerator) -> FixedDraws | None:
    """The draws of the rows, where they are fixed: for a method with a reference, whose errors they are for."""
    if not config.data.reference_draws or not objective.needs_reference:
        return None
    family, scheduler = opened.family, opened.family.pipe.scheduler
    noise = [type(scheduler).__name__, dict(scheduler.config), astuple(family.options), objective.independent_noise]
    how = [config.train.mixed_precision, accelerator.device.type]
    return FixedDraws(config.data.reference_draws, digest(type(family).__name__, opened.told(family.denoiser_name), noise, how))
