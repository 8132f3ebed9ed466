"""The configuration of pictures drawn during a training run: by which state of the model, how many, and what becomes of them."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from mmalign.config.frames import JUDGED, JudgedFrames
from mmalign.config.plugin import RewardConfig, named
from mmalign.config.scoring import RewardsConfig

SCORED = ("rewards", "weights", "never_worse", "min_gap")


class OnlineConfig(RewardsConfig):
    """Pictures drawn by the model during the run, in rounds.

    At the start of each round the model is kept as a member of a pool, and a member draws for all rows of the round. SePPO has an
    opponent for every winner (keep: opponent, reference: member, member: uniform); online DPO pairs or rankings of the drawn pictures.
    """

    refresh_steps: int = Field(30, ge=1, description="optimizer steps of a round, after which pictures are drawn anew")
    member: Literal["newest", "uniform", "first"] = Field(
        "newest",
        description="who draws: newest = the model as a round begins; uniform = any state kept so far; first = the base",
    )
    reference: Literal["initial", "member"] = Field(
        "initial", description="what the method measures against: initial = the base; member = the member that drew the round's pictures"
    )
    keep: Literal["opponent", "pair", "ranking"] = Field(
        "pair",
        description="opponent = a picture against each winner of the data; pair = the best and the worst drawn; ranking = all",
    )
    per_prompt: int | None = Field(None, ge=1, description="pictures drawn per row; None = 4, or 1 for an opponent")
    rewards: list[Annotated[SerializeAsAny[RewardConfig], BeforeValidator(named(RewardConfig))]] = Field(
        default_factory=list, description="rewards that order the drawn pictures: names, or {name: ..., its own fields}; none for opponents"
    )
    weights: dict[str, float] = Field(
        default_factory=dict, description="weight of each reward in the label, by name or label; 1 unless said"
    )
    never_worse: list[str] = Field(default_factory=list, description="rewards under which a preferred picture must not be the worse one")
    min_gap: float = Field(0.0, ge=0, description="rows whose label scores differ by this or less do not count, in units of the label")
    num_inference_steps: int | None = Field(None, ge=1, description="denoising steps per picture; None = the model's own default")
    guidance_scale: float | None = Field(
        None, ge=0, description="classifier-free guidance, no unit; 1 or less = none; None = the model's own default"
    )
    batch_size: int = Field(4, ge=1, description="pictures drawn at once")
    judged_frames: JudgedFrames = JUDGED

    @property
    def draws(self) -> int:
        """Pictures drawn per row."""
        return self.per_prompt or (1 if self.keep == "opponent" else 4)

    @property
    def adds(self) -> int:
        """Drawn pictures among the candidates of a row."""
        return {"opponent": 1, "pair": 2, "ranking": self.draws}[self.keep]

    @model_validator(mode="after")
    def _opponents_are_not_scored(self) -> "OnlineConfig":
        if self.keep == "opponent":
            if self.draws > 1:
                raise ValueError(f"per_prompt is {self.per_prompt}, but a winner has one opponent; leave it out, or keep pairs")
            if given := [key for key in SCORED if getattr(self, key)]:
                raise ValueError(f"{given[0]} has no effect on opponents, which are not scored; leave it out, or keep pairs")
        return self

    @model_validator(mode="after")
    def _what_is_drawn_is_scored(self) -> "OnlineConfig":
        if self.keep != "opponent":
            if not self.rewards:
                raise ValueError(f"keep is {self.keep}, but there is no reward that orders the pictures; name one under rewards")
            if self.draws < 2:
                raise ValueError(f"per_prompt is 1, but a {self.keep} needs two pictures or more; draw more, or keep an opponent")
        self.require_rewards("weights", self.weights)
        self.require_rewards("never_worse", self.never_worse)
        if self.keep == "ranking" and self.never_worse:
            raise ValueError("never_worse is about two pictures and has no effect on a ranking; leave it out, or keep pairs")
        return self


def check_method(method: Any, name: str, online: OnlineConfig | None) -> None:
    """Makes sure that a method is given the pictures that it learns from.

    Args:
        method: the objective.
        name: what the configuration calls it.

    Raises:
        ValueError: it needs pictures drawn during the run and there are none, or has no use for those that there are.
    """
    if online is None:
        if getattr(method, "needs_online", False):  # a third party's class need not say what it does not need
            remedy = "add online: {keep: opponent, reference: member}"
            raise ValueError(f"the method {name} learns from pictures drawn during the run; {remedy}")
        return
    compared = 2 if online.keep == "opponent" else online.adds
    own = (online.keep, online.reference) == ("opponent", "member")
    complaints = [
        (
            method.needs_online and not own,
            "learns against its own reference's pictures; set online.keep opponent and online.reference member",
        ),
        (online.reference == "member" and not method.needs_reference, "asks for no reference; leave online.reference out"),
        (method.takes == "singles", "takes pictures one by one, which are not drawn during a run; leave online out"),
        (online.keep == "opponent" and method.takes == "winners", "has no use for opponents; set online.keep pair"),
        (
            method.takes == "rows" and compared not in method.candidates,
            f"does not compare {compared} pictures; set another online.keep or online.per_prompt",
        ),
    ]
    for holds, complaint in complaints:
        if holds:
            raise ValueError(f"the method {name} {complaint}")
