"""A run that aligns an image generator: its parts, from the configuration."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mmalign import pipelines
from mmalign.config import RunConfig
from mmalign.data.broken import first_readable
from mmalign.data.schema import Example
from mmalign.diffusion.policy import DiffusionPolicy
from mmalign.training import online
from mmalign.training.about import about_generator
from mmalign.training.bucketing import glance, told
from mmalign.training.dataset import collate
from mmalign.training.drawing import Drawer
from mmalign.training.encode import Encoder, Share, encode
from mmalign.training.loop import Run
from mmalign.training.order import derived_seed
from mmalign.training.parts import Parts, batch_plan, binding
from mmalign.training.preferences import check_candidates, load_examples
from mmalign.training.trainable import trainable
from mmalign.training.validation import Validation
from mmalign.training.views import Chosen


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
    family = pipelines.configured(config.model) if pipe is None else pipelines.load(pipe, logit_normal=config.model.logit_normal)
    config = config.model_copy(update={"method": config.method.resolved_for(family.name)})
    objective = config.method.build()
    device = family.device
    family.pipe.to(accelerator.device)
    examples = online.taken(config.online, objective, load_examples(config.data, lazily=True) if examples is None else examples)
    drawn = 0 if config.online is None else config.online.adds
    check_candidates(objective, first_readable(examples), drawn)
    share = Share(accelerator.process_index, accelerator.num_processes, accelerator.wait_for_everyone)
    cached = config.data if rows is None else config.data.model_copy(update={"cache_dir": None})
    total, buckets = len(examples), None
    if rows is not None:
        places, buckets = glance(family, config.data, examples, rows)
        examples = Chosen(examples, places)
    dataset = encode(family, examples, cached, objective, config.seed, share, accelerator.is_main_process, drawn)
    examples = Chosen(examples, dataset.places)
    total = len(dataset) if rows is None else total
    plan = batch_plan(config, len(dataset), accelerator, None if dataset.buckets is None else dataset.buckets.members())
    drawer = None if config.online is None else Drawer(Encoder(family, config.data, config.seed), config.online, objective, config.seed)
    needs = {"reference": objective.needs_reference, "give_back": pipe is not None, "member": online.measures_members(config.online)}
    trained = trainable(family, config.adapter, derived_seed(config.seed, "adapter"), config.train.mixed_precision != "no", **needs)
    try:
        if config.train.gradient_checkpointing:
            family.denoiser.enable_gradient_checkpointing()
        if drawer is None and not (config.validation.steps and config.validation.prompts):
            family.rest_encoders()
        policy = DiffusionPolicy(family, trained.module, trained.reference, accelerator.autocast, objective.independent_noise)
        sections = ("method", "adapter") if config.online is None else ("method", "adapter", "online")
        settings = binding(config, sections, plan, the_encoded_data=dataset.digest())
        settings |= {"data.caption_dropout": config.data.caption_dropout}
        run = Run(accelerator, config.train, policy, objective, trained, plan, output_dir, settings)
        validation = Validation(run, family, config.validation)
        about = about_generator(family, config, objective)
        if buckets := buckets or dataset.buckets:
            about = replace(about, strengths={**about.strengths, "buckets": told(buckets, plan.rows_together, total)})
        parts = Parts(run, config, dataset, collate, total, about, lambda step, log: validation(step))
        yield parts if drawer is None else online.with_rounds(parts, examples, drawer, dry=rows is not None)
    finally:
        accelerator.unwrap_model(trained.module, keep_fp32_wrapper=False)
        if config.train.gradient_checkpointing:
            family.denoiser.disable_gradient_checkpointing()
        trained.remove()
        family.pipe.to(device)
