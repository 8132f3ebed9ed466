"""A run that aligns an image generator: its parts, from the configuration."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mmalign.config import RunConfig
from mmalign.data.schema import Example
from mmalign.diffusion.policy import DiffusionPolicy, Reference
from mmalign.errors import UserError
from mmalign.training import caching, online
from mmalign.training.about import about_generator
from mmalign.training.about_users import with_users
from mmalign.training.bucketing import told
from mmalign.training.dataset import collate
from mmalign.training.drawing import Drawer
from mmalign.training.encoder import Encoder
from mmalign.training.films import frames_of
from mmalign.training.fixed_draws import CachedReference, gone
from mmalign.training.loop import Run
from mmalign.training.optimizer import Apart
from mmalign.training.order import BatchPlan, derived_seed
from mmalign.training.parts import About, Parts, batch_plan, binding
from mmalign.training.personal import PersonalTraining
from mmalign.training.prepared import Prepared, prepared
from mmalign.training.prompted import PromptedDenoiser, encoders_trained
from mmalign.training.reference import FrozenCopy, NoReference
from mmalign.training.reference_errors import draws_of_run, missing_errors
from mmalign.training.sharded import is_sharded, shard
from mmalign.training.speed import Context, computed
from mmalign.training.trainable import Trainable, trainable
from mmalign.training.trained import parameters
from mmalign.training.validation import Validation

BINDING_USERS = ("held_out", "on_missing", "dropout", "dim", "spread", "tokens", "width")
"""What a resume cannot change of the section users; the embeddings themselves are told by the data's digest."""


@contextmanager
def building(
    config: RunConfig,
    accelerator: Accelerator,
    output_dir: Path,
    rows: int | None = None,
    *,
    pipe: Any = None,
    examples: Sequence[Example] | None = None,
) -> Iterator[Parts]:
    """All parts of a run. At the end the pipeline is given back as it was.

    Args:
        rows: encode the first so many rows only, and leave nothing on the disk: a dry run. None = all.
        pipe: a pipeline that is already there, in place of ``config.model``.
        examples: preferences that are already there, in place of ``config.data.source``.
    """
    if config.speed.shard and pipe is not None:
        raise UserError(
            "speed.shard splits the denoiser for good, and this pipeline is to be given back; use `mmalign train` on its folder"
        )
    ready = prepared(config, accelerator, rows, pipe, examples)
    config, objective, dataset, family = ready.config, ready.objective, ready.dataset, ready.opened.family
    ready.opened.settle(ready.draws_pictures, encoders_trained(family, config.adapter))
    plan = batch_plan(config, len(dataset), accelerator, None if dataset.buckets is None else dataset.buckets.members())
    drawer = None
    if config.online is not None:
        drawer = Drawer(Encoder(ready.opened, config.data, config.seed), config.online, objective, config.seed)
    wanted = draws_of_run(dataset, plan, config.train.max_train_steps)
    missing = len(missing_errors(dataset, ready.caches.errors, wanted))
    trained = _trainable(ready, missing, give_back=pipe is not None)
    reference = _reference(ready, trained)
    if config.speed.shard:
        split(trained, within_node=config.speed.shard == "node")
    try:
        with _computed(ready, trained, accelerator) as forward:
            policy = DiffusionPolicy(family, trained.module, reference, forward, objective.independent_noise)
            settings = _settings(ready, plan)
            own = {"sharded": bool(config.speed.shard), "apart": _apart(ready)}
            run = Run(accelerator, config.train, policy, objective, trained, plan, output_dir, settings, **own)
            shown = trained.shown if isinstance(trained, PersonalTraining) else None
            validation = Validation(run, family, config.validation, shown, frames_of(family, config.data))
            plans = {"caches": caching.told(ready, wanted), "reference": caching.told_reference(ready, wanted, missing)}
            about = _about(ready, plan, trained)
            parts = Parts(run, config, dataset, collate, ready.total, about, lambda step, log: validation(step), **plans)
            yield parts if drawer is None else online.with_rounds(parts, ready.examples, drawer, dry=rows is not None)
    finally:
        if isinstance(reference, CachedReference):
            reference.flush()
        accelerator.unwrap_model(trained.module, keep_fp32_wrapper=False)
        if not is_sharded(trained.module):  # nobody holds a pipeline that was split
            trained.remove()
        ready.opened.give_back()


def split(trained: Trainable | PersonalTraining, within_node: bool) -> None:
    """Splits the denoiser, and a copy of it that is the reference, among all processes, or those of a machine."""
    shard(trained.module, within_node)
    if isinstance(trained.reference, FrozenCopy):
        shard(trained.reference.module, within_node)


def _computed(ready: Prepared, trained: Trainable | PersonalTraining, accelerator: Accelerator) -> AbstractContextManager[Context]:
    """The context in which the denoiser, and a copy of it that is the reference, are computed as configured."""
    family, config = ready.opened.family, ready.config
    copy = trained.reference.module if isinstance(trained.reference, FrozenCopy) else None
    return computed(family, family.denoiser, config.speed, accelerator.autocast, config.train.gradient_checkpointing, copy)


def _trainable(ready: Prepared, missing: int, give_back: bool) -> Trainable | PersonalTraining:
    """The denoiser made trainable, with a conditioner where there are users.

    A reference that takes memory is left out where nothing will be asked of it.
    """
    config = ready.config
    asked = ready.dataset.draws is None or missing or config.adapter.name != "full"
    made = trainable(
        ready.opened.family,
        config.adapter,
        derived_seed(config.seed, "adapter"),
        config.train.mixed_precision != "no",
        reference=bool(ready.objective.needs_reference and asked),
        give_back=give_back,
        member=online.measures_members(config.online),
    )
    if isinstance(made.module, PromptedDenoiser):
        made.module.recompute = config.train.gradient_checkpointing
    return made if ready.people is None else PersonalTraining(made, ready.people, config.seed)


def _apart(ready: Prepared) -> Apart | None:
    """The text encoders' adapters, where these have a learning rate of their own."""
    family, adapter = ready.opened.family, ready.config.adapter
    encoders = encoders_trained(family, adapter)
    if not encoders or adapter.text_encoder_lr is None:
        return None
    return Apart("text_encoders", [one for encoder in encoders.values() for one in parameters(encoder)], adapter.text_encoder_lr)


def _reference(ready: Prepared, trained: Trainable | PersonalTraining) -> Reference:
    """What the policy is measured against: live, or what was kept of it."""
    if ready.dataset.draws is None:
        return trained.reference
    live = gone if isinstance(trained.reference, NoReference) else trained.reference
    return CachedReference(ready.caches.errors, live, trained.module)


def _settings(ready: Prepared, plan: BatchPlan) -> dict[str, Any]:
    """What a resume cannot change."""
    config = ready.config
    sections = ("method", "adapter") if config.online is None else ("method", "adapter", "online")
    settings = binding(config, sections, plan, the_encoded_data=ready.dataset.digest())
    if config.users is not None:
        settings |= {f"users.{key}": getattr(config.users, key) for key in BINDING_USERS}
    return settings | {f"data.{key}": getattr(config.data, key) for key in ("caption_dropout", "reference_draws")}


def _about(ready: Prepared, plan: BatchPlan, trained: Trainable | PersonalTraining) -> About:
    about = about_generator(ready.opened.family, ready.config, ready.objective)
    if isinstance(trained, PersonalTraining):
        about = with_users(about, trained)
    if ready.buckets is None:
        return about
    return replace(about, strengths={**about.strengths, "buckets": told(ready.buckets, plan.rows_together, ready.total)})
