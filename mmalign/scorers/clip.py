"""CLIP-type models behind one face: unit embeddings of images and of texts, from open_clip or from transformers."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.reward import Scorer, distinct
from mmalign.scorers.model import ModelReward
from mmalign.scorers.preprocess import Preprocess

TEXTS_AT_ONCE = 256


class ClipModel(ABC, nn.Module):
    """Two towers and a temperature.

    Attributes:
        library: whose models it holds, by the hub's name.
        preprocess: how the checkpoint wants its pictures.
    """

    library: ClassVar[str]
    preprocess: Preprocess

    @abstractmethod
    def tokenize(self, texts: list[str]) -> Tensor:
        """Token ids (U, L), cut and padded to the model's length."""

    @abstractmethod
    def embed_text(self, tokens: Tensor) -> Tensor:
        """Projected embeddings (U, D) of token ids, not normalized."""

    @abstractmethod
    def embed_image(self, pixels: Tensor) -> Tensor:
        """Projected embeddings (B, D) of prepared pixels (B, 3, H, W), not normalized."""

    @property
    @abstractmethod
    def log_scale(self) -> nn.Parameter:
        """The parameter whose exp multiplies cosines; of shape () or (1,)."""

    @property
    def logit_scale(self) -> Tensor:
        """What multiplies cosines: exp of the parameter, a float32 scalar."""
        return self.log_scale.float().exp().squeeze()

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the model so that its library, and ``mmalign.scorers.load_clip``, read it back."""


class ClipReward(ModelReward):
    """A scorer that compares an image's embedding with its prompt's.

    Subclasses set ``self.clip`` with ``self.place(model)`` and say in ``compare`` what the cosine becomes. What is here besides is for
    what builds upon such scorers: training them, and taking their embeddings apart.
    """

    differentiable: ClassVar[bool] = True
    clip: ClipModel

    def place(self, module: ClipModel) -> ClipModel:
        """A model as ``ModelReward.place`` gives it. Its temperature stays float32: as bfloat16 it would be off by a percent."""
        log_scale = module.log_scale.detach().float()
        module = super().place(module)
        module.log_scale.data = log_scale.to(self.device)
        return module

    @property
    def preprocess(self) -> Preprocess:
        """How the CLIP wants its pictures."""
        return self.clip.preprocess

    def compare(self, images: Tensor, texts: Tensor | None) -> Tensor:
        """Scores (B,) of unit embeddings of images (B, D) and of their prompts (B, D); None where prompts play no part."""
        raise NotImplementedError

    def tokenize(self, prompts: list[str]) -> Tensor:
        """Token ids (U, L) of prompts, as this scorer words them."""
        return self.clip.tokenize(prompts)

    def image_embeddings(self, pixels: Tensor) -> Tensor:
        """Unit embeddings (B, D), float32, of prepared pixels."""
        return F.normalize(self.clip.embed_image(self.to_device(pixels)).float(), dim=-1)

    def text_embeddings(self, texts: list[str]) -> Tensor:
        """Unit embeddings (U, D), float32."""
        parts = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        found = [self.clip.embed_text(self.to_device(self.tokenize(part))).float() for part in parts]
        return F.normalize(torch.cat(found), dim=-1)

    def _scorer(self, prompts: list[str] | None) -> Scorer:
        """Reads every distinct prompt once."""
        if not self.needs_prompt or not prompts:
            return lambda pixels, places: self.compare(self.image_embeddings(pixels), None)
        once, which = distinct(prompts)
        texts, which = self.text_embeddings(once), torch.tensor(which, device=self.device)
        return lambda pixels, places: self.compare(self.image_embeddings(pixels), texts[which[places.start : places.stop]])

    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        return self._scorer(prompts)(images, range(len(images)))
