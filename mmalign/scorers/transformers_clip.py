"""CLIP-type models of transformers: CLIPModel, SiglipModel, Siglip2Model, from a folder or the hub."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from mmalign.errors import UserError
from mmalign.scorers.clip import ClipModel
from mmalign.scorers.preprocess import Preprocess

KINDS = ("clip", "siglip", "siglip2")


class TransformersClip(ClipModel):
    """A model of transformers with its tokenizer and its recipe for pictures.

    Args:
        model: a CLIPModel, SiglipModel or Siglip2Model.
        tokenizer: its tokenizer.
        image_processor: its image processor, of which the numbers are taken; the resizing is ours.
    """

    library = "transformers"

    def __init__(self, model: nn.Module, tokenizer: Any, image_processor: Any) -> None:
        super().__init__()
        self.model, self.tokenizer, self.image_processor = model, tokenizer, image_processor
        self.preprocess = preprocess_of(image_processor)
        self.length = model.config.text_config.max_position_embeddings

    def tokenize(self, texts: list[str]) -> Tensor:
        return self.tokenizer(texts, padding="max_length", truncation=True, max_length=self.length, return_tensors="pt").input_ids

    def embed_text(self, tokens: Tensor) -> Tensor:
        return _pooled(self.model.get_text_features(input_ids=tokens))

    def embed_image(self, pixels: Tensor) -> Tensor:
        return _pooled(self.model.get_image_features(pixel_values=pixels))

    @property
    def log_scale(self) -> nn.Parameter:
        return self.model.logit_scale

    def save(self, folder: Path) -> None:
        for part in (self.model, self.tokenizer, self.image_processor):
            part.save_pretrained(folder)


def load_transformers(place: str | Path, revision: str | None = None, processor: str | Path | None = None) -> TransformersClip:
    """A CLIP-type model of transformers, float32, on the CPU.

    Args:
        place: folder or hub id.
        revision: branch, tag or commit on the hub.
        processor: folder or hub id of the tokenizer and the image processor; None = ``place``.

    Raises:
        UserError: there is no such model, it is of another kind, or its weights do not fit its configuration.
    """
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    kind = _read(place, "config.json", lambda: _kind(place, revision))
    if kind not in KINDS:
        raise UserError(f"{place} is a model of type {kind!r}, not a CLIP-type one ({', '.join(KINDS)}); give another model")
    model, report = _read(
        place,
        "weights of a CLIP-type model",
        lambda: AutoModel.from_pretrained(place, revision=revision, dtype=torch.float32, output_loading_info=True),
    )
    _check_complete(place, report)
    source = {"pretrained_model_name_or_path": processor or place, "revision": None if processor else revision}
    tokenizer = _read(processor or place, "tokenizer", lambda: AutoTokenizer.from_pretrained(**source))
    image_processor = _read(processor or place, "image processor", lambda: AutoImageProcessor.from_pretrained(**source))
    return TransformersClip(model, tokenizer, image_processor)


def preprocess_of(image_processor: Any) -> Preprocess:
    """The recipe for pictures of an image processor.

    Raises:
        UserError: its pictures would not be squares.
    """
    found = image_processor.to_dict()
    size, crop = found.get("size") or {}, found.get("crop_size") or {}
    shared = {
        "mean": tuple(found["image_mean"]),
        "std": tuple(found["image_std"]),
        "interpolation": v2.InterpolationMode(Image.Resampling(found["resample"]).name.lower()),
        "odd": "floor",
    }
    if found.get("do_center_crop") and crop.get("height") == crop.get("width") and "shortest_edge" in size:
        return Preprocess(size=crop["height"], resize=size["shortest_edge"], fit="crop", **shared)
    if not found.get("do_center_crop") and size.get("height") is not None and size["height"] == size.get("width"):
        return Preprocess(size=size["height"], fit="squash", **shared)
    raise UserError(f"the image processor {type(image_processor).__name__} with size {size} does not make squares; give another processor")


def _pooled(output: Any) -> Tensor:
    """The projected embedding: transformers 5 gives an object that holds it, earlier ones a tensor."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _kind(place: str | Path, revision: str | None) -> str:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(place, revision=revision).model_type


def _check_complete(place: str | Path, report: dict[str, Any]) -> None:
    missing = sorted(report["missing_keys"])
    extra = sorted(name for name in report["unexpected_keys"] if not name.endswith("position_ids"))
    if missing or extra:
        reason = f"lack {missing[0]!r}" if missing else f"also have {extra[0]!r}"
        raise UserError(f"the weights of {place} do not fit its configuration: they {reason}; give the folder as it was published")


def _read(place: str | Path, what: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, ValueError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot read {what} of {place} ({reason}); give the hub id or the folder of a CLIP-type model") from error
