"""An evaluation for people from its configuration."""

from pathlib import Path

import torch
from accelerate import PartialState
from torch import Tensor

from mmalign import data, pipelines
from mmalign.config import EvaluateUsersConfig
from mmalign.config.plugin import RewardConfig
from mmalign.errors import UserError
from mmalign.evaluation.personal.evaluate import evaluate
from mmalign.evaluation.personal.known import by_name, liking, of_choices, trained_on
from mmalign.evaluation.personal.people import Judge, Person, RewardOfEach
from mmalign.evaluation.personal.plan import Options
from mmalign.evaluation.personal.report import write_report
from mmalign.evaluation.personal.result import PersonalEvaluation
from mmalign.evaluation.personal.sides import Sides
from mmalign.evaluation.personal.words import text_table, verdict
from mmalign.evaluation.write import check_folder
from mmalign.prompts import load_prompts
from mmalign.shapes.people import everybody
from mmalign.shapes.tastes import seen
from mmalign.users.apart import in_turns
from mmalign.users.encoder import load_encoder
from mmalign.users.personal import ENCODER
from mmalign.users.samples import people_of

METRICS_FILE = "metrics.jsonl"


def run(config: EvaluateUsersConfig) -> Path:
    """Evaluates as configured, writes the report, prints the table; returns the report's page.

    Raises:
        UserError: the model, the run, the people, the prompts or a reward cannot be used.
    """
    prompts = load_prompts(config.prompts)[: config.limit]
    options = options_of(config)
    judge = judge_of(config.judge)
    people = people_in(config, options)
    witnesses = {reward.title: reward.build() for reward in config.witnesses}
    check_folder(config.output_dir)
    family = pipelines.configured(config.model)
    family.pipe.to(PartialState().device)
    config = family.settled(config)
    call = {"num_inference_steps": config.num_inference_steps, "guidance_scale": config.guidance_scale}
    sides = Sides(family, config.run_path, config.population_path, config.scale, **call)
    given = {"witnesses": witnesses, "seed": config.seed, "options": options}
    given["population"] = None if config.population_path is None else sides.population
    try:
        found = evaluate(sides.base, sides.personal, people, prompts, judge, **given)
    finally:
        sides.close()
    metrics = config.run_path / METRICS_FILE
    page = write_report(found, config.output_dir, config.model_dump(mode="json"), metrics=metrics if metrics.is_file() else None)
    print(told(found))
    return page


def options_of(config: EvaluateUsersConfig) -> Options:
    """The sizes that a configuration names; people known by name have no number of choices."""
    shots = (0,) if config.choices is None else tuple(config.shots)
    return Options(
        shots=shots,
        main_shots=0 if config.choices is None else config.main_shots,
        interpolations=config.interpolations,
        batch_size=config.batch_size,
        resamples=config.resamples,
        confidence=config.confidence,
    )


def people_in(config: EvaluateUsersConfig, options: Options) -> list[Person]:
    """Who is drawn for. Raises UserError where nobody can be."""
    trained = trained_on(config.run_path)
    if config.choices is None:
        return by_name(trained, config.seen, liking)
    if not (config.run_path / ENCODER).is_dir():
        raise UserError(f"{config.run_path} has no {ENCODER} that could embed people; leave choices out, or train with users.encoder")
    told = config.choices
    options_of_reader = {"split": told.split, "ties": told.ties, "on_broken": told.on_broken, "stream": told.stream} | told.columns
    found = people_of(data.load(told.name, told.source, **options_of_reader)[: told.limit], told.source).choices
    choices = {name: in_turns(own, f"{config.seed}, {name}") for name, own in found.items()}
    sizes = {"seen": config.seen, "unseen": config.unseen}
    return of_choices(choices, load_encoder(config.run_path / ENCODER), trained, options, sizes, liking)


def judge_of(config: RewardConfig) -> Judge:
    """What judges in people's place; the tastes of the embedded world read a picture once for everybody."""
    if config.name == "taste" and not config.fields().get("weights"):
        return taste_of_each
    if "user" not in type(config).model_fields:
        raise UserError(f"judge {config.name!r} takes no user, so that it would say the same of everybody; give one that does")
    return RewardOfEach(lambda name: config.model_copy(update={"user": name}).build())


def taste_of_each(images: Tensor, prompts: list[str], people: list[str]) -> Tensor:
    """What people of the embedded world think of pictures, (N, people)."""
    known = everybody()
    unknown = [name for name in people if name not in known]
    if unknown:
        raise UserError(f"judge 'taste' knows no user {unknown[0]!r}; it judges for people of the embedded world")
    found = seen(images)
    return torch.stack([known[name].of(found) for name in people], dim=1)


def told(found: PersonalEvaluation) -> str:
    """The verdict and the table, for a terminal."""
    return f"{verdict(found)}\n\n{text_table(found)}"
