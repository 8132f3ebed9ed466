"""Families of which some text encoders are CLIP's: these read so few tokens that a training step can encode its prompts anew."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from mmalign.diffusion.family import DiffusionFamily


class ClipFamily(DiffusionFamily):
    """A family whose CLIP text encoders can be trained beside its denoiser; a T5 that it may have stays frozen."""

    clip_encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")

    @property
    def encoders(self) -> dict[str, nn.Module]:
        """Those of its text encoders that are CLIP's, by name."""
        return {name: encoder for name, encoder in self.text_encoders.items() if name in self.clip_encoders}

    def layers_read(self, name: str) -> int:
        """How many layers of a text encoder, from the first on, the embeddings depend on."""
        return self.encoders[name].config.num_hidden_layers

    def tokenize(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """What ``embed`` reads of prompts: the tokens (B, L) of each text encoder by its name, int32, cut off and padded as ever."""
        return {name: self._tokenized(name, list(prompts))["input_ids"].int() for name in self.encoders}

    def _tokenized(self, name: str, prompts: list[str]) -> Mapping[str, Tensor]:
        tokenizer = getattr(self.pipe, name.replace("text_encoder", "tokenizer"))
        if hasattr(self.pipe, "maybe_convert_prompt"):
            prompts = self.pipe.maybe_convert_prompt(prompts, tokenizer)  # one that stands for several tokens (textual inversion)
        length = getattr(self.pipe, "tokenizer_max_length", tokenizer.model_max_length)
        return tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")

    @abstractmethod
    def embed(self, encoders: Mapping[str, nn.Module], tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What ``encode_prompts`` gives, as far as CLIP says it, by the same names and with gradients.

        Args:
            encoders: all of ``self.encoders``, in its order.
            tokens: of B prompts, by ``tokenize``.

        Returns:
            Each (B, ...). Of a sequence in which a T5's tokens follow, only CLIP's own.
        """
