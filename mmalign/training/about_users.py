"""What is said of a run for people, before the first step and in its card: who they are, how large the conditioner is, how it is called."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from mmalign.config.users import ONE_HOT, TABLE
from mmalign.personalization.conditioner import FILE
from mmalign.training.parts import About
from mmalign.training.people import RunUsers, some
from mmalign.training.personal import LIST, PersonalTraining
from mmalign.users.personal import ENCODER


def with_users(about: About, trained: PersonalTraining) -> About:
    """What is said of the run, with its people."""
    people, denoiser = trained.people, {"none": ""}.get(about.trained, f"{about.trained} and ")
    own = [FILE, *([f"{ENCODER}/"] if people.config.encoder is not None else []), LIST]
    samples = [name for name in about.files if name.startswith("samples/")]
    said = {"users": _counted(people), "embeddings": _embeddings(people), "conditioner": _size(trained)}
    if samples:
        said["samples"] = f"a column each for {', '.join(trained.shown())}"
    return replace(
        about,
        trained=f"{denoiser}user conditioner",
        tags=[*about.tags, "personalization"],
        usage=[*about.usage, *_use(trained)],
        files=[*about.files[: -len(samples) or None], *own, *samples],
        strengths={**about.strengths, **said},
    )


def _counted(people: RunUsers) -> str:
    """How many are trained on, held out and left out, with their rows."""
    out = f"{_number(people.held_out)} held out: {some(list(people.held_out))}" if people.held_out else "nobody held out"
    missing = f"; {_number(people.missing)} left out, without an embedding: {some(list(people.missing))}" if people.missing else ""
    return f"{_number(people.trained)} trained on; {out}{missing}; nobody in {people.config.dropout:.0%} of the draws"


def _number(users: Mapping[str, int]) -> str:
    return f"{len(users):,} with {sum(users.values()):,} rows"


def _embeddings(people: RunUsers) -> str:
    kinds = {TABLE: "a table, trained", ONE_HOT: "a unit vector for each name"}
    source = kinds.get(people.config.embeddings) or f"{people.config.embeddings}{''.join(_made(people))}"
    return f"{source}; {people.tokens} x {people.width} numbers a user"


def _made(people: RunUsers) -> Iterator[str]:
    """What a file says of how its embeddings were made."""
    for name, value in (people.samples.about if people.samples is not None else {}).items():
        yield f", {name} {value}"


def _size(trained: PersonalTraining) -> str:
    numbers = sum(parameter.numel() for parameter in trained.conditioner.parameters())
    table = trained.module.table
    beside = "" if table is None else f" and {table.numel():,} in the table"
    return f"{numbers:,} parameters{beside}, beside {len(trained.conditioner.shape.layers)} attentions"


def _use(trained: PersonalTraining) -> list[str]:
    """Lines of Python that draw for a user, after the pipeline is there."""
    people, lines = trained.people, []
    user = json.dumps(next(iter(people.trained)), ensure_ascii=False)
    if people.config.encoder is not None:
        lines = [
            "from mmalign.users.encoder import load_encoder",
            "# choices: examples of one person, the chosen picture first (mmalign.data.load)",
            f'user = load_encoder("THIS_FOLDER/{ENCODER}").embed(choices)',
        ]
        user = "user"
    elif not trained.keeps_users:
        lines = [
            "from mmalign.personalization import UserSamples",
            f"user = UserSamples.load({people.config.embeddings!r}).first()[{user}]",
        ]
        user = "user"
    return [
        "",
        "from mmalign.personalization import UserConditioner",
        *lines,
        'UserConditioner.load("THIS_FOLDER").attach(pipe)',
        f'image = pipe("a prompt", {trained.module.keyword}={{"user": {user}}}).images[0]',
    ]
