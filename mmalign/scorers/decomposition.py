"""Text embeddings taken apart along the direction that all prompts share, and that direction as a file."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmalign.errors import UserError
from mmalign.files import write_whole
from mmalign.scorers.clip import ClipReward

PROBES = ["a photo of a cat", "an oil painting of a harbor at night", "three red cubes on a wooden table", "portrait of an old sailor"]
"""Sentences whose embeddings tell one scorer from another, wherever their checkpoints lie and whatever their number format."""
SAME = 0.99
"""Least cosine between the same sentence's embeddings that counts as the same scorer; bfloat16 is above 0.999."""
FORMAT = "mmalign.text_direction"


@dataclass(frozen=True)
class TextDirection:
    """What the text embeddings of a set of prompts have in common, for one scorer.

    Attributes:
        vector: their normalized mean (D,), float32, on the CPU.
        probes: the scorer's embeddings (4, D) of ``PROBES``, by which it is known again.
        scorer: its name and fields, for messages.
        prompts: SHA-256 of the prompts.
        count: how many they are.
    """

    vector: Tensor
    probes: Tensor
    scorer: str
    prompts: str
    count: int

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file. Raises UserError where it cannot be written."""
        facts = {"format": FORMAT, "scorer": self.scorer, "prompts": self.prompts, "count": str(self.count)}
        write_whole(path, save({"vector": self.vector, "probes": self.probes}, metadata=facts))

    def require(self, scorer: ClipReward, path: str | Path) -> None:
        """Raises UserError unless it was computed with this scorer."""
        found = _probes(scorer)
        if found.shape != self.probes.shape or F.cosine_similarity(found, self.probes).min() < SAME:
            raise UserError(f"{path} is the direction of another scorer ({self.scorer}); compute one with this scorer, from its prompts")


def text_direction(scorer: ClipReward, prompts: Sequence[str], name: str = "") -> TextDirection:
    """The normalized mean of the unit text embeddings of prompts.

    Args:
        prompts: two different ones at least, better hundreds: of one prompt the direction is its own embedding, and nothing of it is left.
        name: the scorer's name and fields, for messages; empty = its class.

    Raises:
        UserError: fewer than two different prompts.
    """
    if len(set(prompts)) < 2:
        raise UserError(f"a direction needs two different prompts or more, not {len(set(prompts))}; give a set of hundreds")
    with torch.no_grad():
        mean = scorer.text_embeddings(list(prompts)).double().mean(0)
    vector = F.normalize(mean, dim=0).float().cpu()
    return TextDirection(vector, _probes(scorer), name or type(scorer).__name__, digest(prompts), len(prompts))


def read_direction(path: str | Path) -> TextDirection:
    """A direction from the file that ``TextDirection.save`` wrote.

    Raises:
        UserError: the file is missing, damaged, or another one.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as a direction ({str(error) or type(error).__name__}); compute it from prompts") from error
    if facts.get("format") != FORMAT or tensors.keys() != {"vector", "probes"}:
        raise UserError(f"{path} is no direction of text embeddings; compute one from prompts")
    return TextDirection(tensors["vector"], tensors["probes"], facts["scorer"], facts["prompts"], int(facts["count"]))


def along(texts: Tensor, vector: Tensor) -> Tensor:
    """The part (U, D) of text embeddings (U, D) that lies along a unit direction (D,): (t . V) V."""
    return (texts @ vector)[:, None] * vector


def digest(prompts: Sequence[str]) -> str:
    """SHA-256 of prompts in their order."""
    return hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()


@torch.no_grad()
def _probes(scorer: ClipReward) -> Tensor:
    return scorer.text_embeddings(PROBES).float().cpu()
