"""What a preference objective promises: a frozen dataclass whose call turns a policy and prepared inputs into a loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, get_type_hints

import torch
from torch import Tensor

from mmalign.errors import UserError
from mmalign.policy import Candidate, Policy, ScoringPolicy

Reads = Literal["orders", "ties", "probabilities"]
"""What a method makes use of in a label: that one order is right; also that there is none; also how likely it is right."""

Takes = Literal["rows", "winners", "singles"]
"""How a method is given examples: as they are; the preferred candidate alone; each of a pair for itself, with the score 1 or 0."""


KINDS = {
    "Policy": "image generators and vision-language models",
    "DenoisingPolicy": "image generators",
    "ResidualPolicy": "image generators",
    "TokenPolicy": "vision-language models",
    "DistributionPolicy": "vision-language models",
    "ScoringPolicy": "reward scorers",
}
"""Which models have the verbs that the annotation of a method's ``policy`` names."""


@dataclass(frozen=True)
class Paper:
    """Where a method is from.

    Attributes:
        title: of the paper.
        place: where it is found, such as "arXiv:2311.12908".
    """

    title: str
    place: str


@dataclass(frozen=True)
class FamilyDefaults:
    """What a method's fields are for a family of models where the configuration does not give them.

    Attributes:
        source: the paper or public code that says so.
        fields: values, by field.
    """

    source: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Elsewhere:
    """How other code writes the strength of the same loss.

    Attributes:
        code: whose.
        factor: its number for one here.
        sums: whether its errors are sums over the numbers of a picture's latent, where they are means here.
    """

    code: str
    factor: float
    sums: bool = False

    def number(self, beta: float, size: int) -> float:
        """What it calls a beta, for latents of so many numbers."""
        return self.factor * beta / (size if self.sums else 1)


@dataclass(frozen=True)
class Strength:
    """How strongly a method pulls, in one unit for all: Diffusion-DPO's beta, the slope of the sigmoid's argument on half the errors.

    Attributes:
        beta: the slope at the start of training; None where none compares.
        note: what else there is to know, as half a sentence.
    """

    beta: float | None
    note: str = ""


@dataclass(frozen=True)
class LossOutput:
    """The result of an objective on one batch.

    Attributes:
        loss: (B,), differentiable.
        implicit_rewards: (B, K), detached, preferred candidate first; beta times the log-ratio to the reference, or a scorer's logits.
            Not a number where a row has fewer candidates.
        logps: (B, K), detached, the policy's log-likelihoods of the same candidates, for the log and its guard; None = not compared.
        ref_logps: (B, K), the reference's; None for a method without one.
        preferred: (B,), of rows of a single candidate, whether it is a preferred one; None = the first one is in every row.
        extras: more numbers to log by name, each of shape (B,) and detached.
    """

    loss: Tensor
    implicit_rewards: Tensor
    logps: Tensor | None = None
    ref_logps: Tensor | None = None
    preferred: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """A method. The annotation of ``policy`` says which models it is for.

    Attributes:
        candidates: which numbers of candidates it compares.
        reads: what it makes use of in a label; rows that say more are refused.
        normalized: whether the weights of the rows of a step are divided by their mean.
        needs_reference: whether it asks the policy for its reference; where not, none is kept.
        compares_residuals: whether it asks its reference for predictions, and not for their errors alone.
        takes: how it is given examples; ``candidates`` are counted after that.
        paper: where it is from.
        family_defaults: what its fields are by default for a family of image generators, by the family's name; only what is published.
        elsewhere: how other code writes the strength of the same loss.
        needs_online: whether the rival of its winners is drawn during the run (the section ``online``), by the very reference.
        candidates_of: picture and response of each candidate of a batch, those under the same pictures side by side, where a batch holds
            other candidates than its rows; empty where it holds theirs.
        needs_phrases: whether both responses of a pair must have marked phrases.
        independent_noise: whether the candidates of a row have noise of their own.
    """

    candidates: ClassVar[range]
    reads: ClassVar[Reads] = "orders"
    normalized: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = True
    compares_residuals: ClassVar[bool] = False
    takes: ClassVar[Takes] = "rows"
    needs_online: ClassVar[bool] = False
    candidates_of: ClassVar[tuple[Candidate, ...]] = ()
    needs_phrases: ClassVar[bool] = False
    paper: ClassVar[Paper]
    family_defaults: ClassVar[Mapping[str, FamilyDefaults]] = {}
    elsewhere: ClassVar[tuple[Elsewhere, ...]] = ()
    independent_noise: bool = False

    def complaint(self, scores: tuple[float, ...] | None) -> str:
        """What is wrong with the scores of a row, and the remedy; empty for a method that does not read them, or can."""
        return ""

    def strength(self) -> Strength | None:
        """How strongly it pulls on an image generator; None for a method that has nothing to set."""
        return None

    def __call__(self, policy: Policy, inputs: Any) -> LossOutput: ...


def policy_of(objective: type) -> type:
    """The policy that a class of methods asks for."""
    return get_type_hints(objective.__call__)["policy"]


def strength_fields(objective: type) -> list[str]:
    """The fields of a class of methods that say how strongly it pulls: those with published defaults, else beta, where it has one."""
    known = {name for defaults in getattr(objective, "family_defaults", {}).values() for name in defaults.fields}
    return [field.name for field in fields(objective) if field.name in (known or {"beta"})]


def check_fit(objective: Objective, policy: Policy | ScoringPolicy) -> None:
    """Makes sure that a method can work on a model, before the first step.

    Raises:
        UserError: the policy lacks a verb the objective's annotation asks for.
    """
    wanted = policy_of(type(objective))
    # what a scorer says means something alone; a policy's numbers do not, though it has the verbs
    if not isinstance(policy, wanted) or (wanted is ScoringPolicy and isinstance(policy, Policy)):
        raise UserError(
            f"the method {type(objective).__name__} works on {KINDS.get(wanted.__name__, wanted.__name__)}, "
            f"but this model is a {type(policy).__name__}; choose another method (`mmalign list methods`)"
        )


@torch.no_grad()
def reference_logps(policy: Policy, inputs: Any) -> Tensor:
    """The reference's log-likelihoods (B, K). Call it before the policy's own forward: see ``Policy.reference``."""
    with policy.reference():
        return policy.logps(inputs)


FLAT = 4.0
"""Beyond this argument, either way, a sigmoid has less than a tenth of its steepest slope, and is within 2 % of 0 or 1."""


def saturated(logits: Tensor) -> Tensor:
    """Where the sigmoid of logits (any shape) is flat, 1, else 0: how far such a pair is won, or lost, no longer matters to its weight."""
    return (logits.detach().abs() > FLAT).float()
