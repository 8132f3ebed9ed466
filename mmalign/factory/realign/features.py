"""What a model's vision tower makes of pictures, as one vector each, kept by model and pixels."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmalign.data.cache import TensorCache
from mmalign.data.digest import digest
from mmalign.vlm.encode import PromptEncoder
from mmalign.vlm.family import VlmFamily

SIDE = 32
"""Of a thumbnail, pixels."""
ASKED = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]


class Features:
    """Makes and keeps features: the mean over a picture's tokens, as the language model gets them, of length 1, and a thumbnail.

    Args:
        family: the model, in evaluation mode.
        cache: where they are kept.
        told: what tells the model and its weights from others.
        options: of the processor.
        batch_size: pictures that the tower sees at once.
    """

    def __init__(self, family: VlmFamily, cache: TensorCache, told: str, options: Mapping[str, Any] | None = None, batch_size: int = 8):
        self._family, self._cache, self._batch_size = family, cache, batch_size
        self._encoder, self._options = PromptEncoder(family.processor), dict(options or {})
        self._told = digest(told, self._options)

    def key(self, image: Image.Image) -> str:
        """Of a picture's pixels under this model."""
        return digest(self._told, pixels_of(image))

    def make(self, images: Sequence[Image.Image]) -> None:
        """Makes the features of those pictures that have none yet, and keeps them together."""
        new = {key: image for key, image in ((self.key(image), image) for image in images) if key not in self._cache}
        names, made = list(new), list[Tensor]()
        for start in range(0, len(names), self._batch_size):
            made += self._seen([new[name] for name in names[start : start + self._batch_size]])
        if names:
            entries = zip(names, made, strict=True)
            self._cache.put({name: {"feature": feature, "thumbnail": thumbnail(new[name])} for name, feature in entries})

    @torch.no_grad()
    def _seen(self, images: Sequence[Image.Image]) -> list[Tensor]:
        asked = self._encoder.prompts([ASKED] * len(images), [[image] for image in images], **self._options)
        device = self._family.model.device
        vision = {name: value.to(device) for name, value in asked.inputs.items() if torch.is_tensor(value)}
        tokens = list(self._family.look(vision)["image"].pooler_output)
        if len(tokens) != len(images):
            return [one for image in images for one in self._seen([image])] if len(images) > 1 else [mean(torch.cat(tokens))]
        return [mean(part) for part in tokens]


def features_of(cache: TensorCache, keys: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Features (N, C) and thumbnails (N, 32, 32, 3) by their keys. Raises KeyError where one was not made."""
    found = [cache.get(key) for key in keys]
    return torch.stack([one["feature"] for one in found]), torch.stack([one["thumbnail"] for one in found])


def mean(tokens: Tensor) -> Tensor:
    """The mean of tokens (n, C), of length 1, (C,), float32 on the CPU."""
    return torch.nn.functional.normalize(tokens.float().mean(0), dim=0).cpu()


def thumbnail(image: Image.Image) -> Tensor:
    """A small picture (32, 32, 3), 8 bits."""
    return torch.from_numpy(np.array(image.resize((SIDE, SIDE), Image.Resampling.BOX)))


def pixels_of(image: Image.Image) -> str:
    """What tells a picture's pixels from others."""
    return blake2b(f"{image.size}".encode() + image.tobytes(), digest_size=16).hexdigest()
