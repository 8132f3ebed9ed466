"""ImageReward: how well people would like a picture for its prompt, read by BLIP."""

import re
from collections.abc import Mapping
from math import inf
from pathlib import Path

import torch
from torch import Tensor

from mmalign.errors import UserError
from mmalign.reward import Scorer, distinct
from mmalign.scorers.affine import collapsed
from mmalign.scorers.blip import BlipEncoder, BlipTokenizer, read_text_config, resize_positions, vision_shape
from mmalign.scorers.checkpoint import load_into, locate, read_tensors
from mmalign.scorers.model import Dtype, ModelReward
from mmalign.scorers.preprocess import Preprocess

MEAN, STD = 0.16717362830052426, 1.0333394966054072
TEXT_LENGTH = 35
UNUSED = ("position_ids", "vision_proj.weight", "vision_proj.bias", "text_proj.weight", "text_proj.bias")
"""In the published file, and no part of the score."""


class ImageReward(ModelReward):
    """ImageReward-v1.0: what the text's first token knows of the picture, through one affine map, centered and scaled as published.

    The published head is five linear layers with nothing between them, so they are multiplied into one, in double precision. The shorter
    side of a picture is brought to 224 pixels and the middle cut out, so a score is about the middle square. Pictures with transparency
    are laid on white first, as everywhere here; the published code drops it.

    Args:
        pretrained: hub id or folder with ``ImageReward.pt`` and ``med_config.json``, or the file with the other one beside it.
        revision: branch, tag or commit of ``pretrained`` on the hub.
        tokenizer: hub id or folder of BERT's uncased tokenizer.
        image_size: side of the picture that the model sees, pixels; other than 224, its position embeddings are resized.
        device: where the model runs, such as "cuda:1"; "auto" = the accelerator where there is one.
        dtype: number format of the model; scores are float32 in any case.
        batch_size: images scored at once.

    Raises:
        UserError: a file is missing, damaged or of another model.
    """

    needs_prompt = True
    differentiable = True
    range = (-inf, inf)
    unit = "normalized reward, mostly -2 to 2"
    licence = "Apache-2.0"
    source = "https://arxiv.org/abs/2304.05977"

    def __init__(
        self,
        pretrained: str = "THUDM/ImageReward",
        revision: str | None = None,
        tokenizer: str = "bert-base-uncased",
        image_size: int = 224,
        device: str = "auto",
        dtype: Dtype = "float32",
        batch_size: int = 32,
    ) -> None:
        super().__init__(device, dtype, batch_size)
        path = locate(pretrained, "ImageReward.pt", revision)
        text = read_text_config(_beside(path, pretrained, revision))
        self.tokenizer = BlipTokenizer(tokenizer, text["vocab_size"], TEXT_LENGTH)
        tensors = read_tensors(path)
        weight, bias = affine({name: tensors.pop(name) for name in list(tensors) if name.startswith("mlp.")}, text["hidden_size"], path)
        self.weight, self.bias = ((value / STD).float().to(self.device) for value in (weight, bias - MEAN))
        self.blip = self.place(_encoder(tensors, text, image_size, path))
        self.preprocess = Preprocess(size=image_size)

    def _scorer(self, prompts: list[str] | None) -> Scorer:
        """Reads every distinct prompt once."""
        once, which = distinct(prompts)
        tokens, mask = (self.to_device(part) for part in self.tokenizer(once or [""]))
        which = torch.tensor(which, device=self.device)

        def score(pixels: Tensor, places: range) -> Tensor:
            rows = which[places.start : places.stop]
            return self.blip(self.to_device(pixels), tokens[rows], mask[rows]).float() @ self.weight + self.bias

        return score

    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        return self._scorer(prompts)(images, range(len(images)))


def affine(layers: Mapping[str, Tensor], width: int, path: Path) -> tuple[Tensor, Tensor]:
    """The one map (width,), () in float64 that linear layers ``mlp.layers.N.weight`` and ``.bias`` make one after the other.

    Raises:
        UserError: a layer lacks its other half or does not fit its neighbors, or the last has more than one output.
    """
    numbers = sorted({int(found.group(1)) for name in layers if (found := re.fullmatch(r"mlp\.layers\.(\d+)\.(weight|bias)", name))})
    try:
        weight, bias = collapsed([(layers[f"mlp.layers.{number}.weight"], layers[f"mlp.layers.{number}.bias"]) for number in numbers])
        return weight.reshape(width), bias.reshape(())
    except (KeyError, IndexError, RuntimeError) as error:
        raise UserError(
            f"{path} is not ImageReward's checkpoint: its head 'mlp.layers' does not lead from {width} numbers to one; "
            "give the published file"
        ) from error


def _beside(path: Path, pretrained: str, revision: str | None) -> Path:
    return locate(path.parent if path == Path(pretrained).expanduser() else pretrained, "med_config.json", revision)


def _encoder(tensors: dict[str, Tensor], text: Mapping[str, object], image_size: int, path: Path) -> BlipEncoder:
    shape = vision_shape(tensors, path, "blip.visual_encoder.", image_size)
    positions = "blip.visual_encoder.pos_embed"
    if positions in tensors:
        tensors[positions] = resize_positions(tensors[positions], image_size, shape["patch_size"])
    encoder = BlipEncoder(shape, text)
    load_into(encoder, {name.removeprefix("blip."): value for name, value in tensors.items()}, path, UNUSED)
    return encoder


PLUGIN = ImageReward
