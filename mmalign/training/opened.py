"""A pipeline as a run opens it: in one piece that the user holds, or from the disk, a part at a time and only where it is needed.

With all caches full, a run needs the denoiser alone. The other parts are then shapes without weights, which say all that is asked of a
configuration, such as the scale of the latents.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights
from diffusers import DiffusionPipeline
from torch import nn

from mmalign import pipelines
from mmalign.config import ModelConfig
from mmalign.data.digest import digest
from mmalign.data.fingerprint import FileDigests, fingerprint, folder_digest
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.hub import not_given
from mmalign.shapes.models import resolve

LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
VAE = "vae"
DENOISERS = {"unet", "transformer"}


class Opened(ABC):
    """A family whose parts are there when they are asked for.

    Attributes:
        family: bound to the pipeline.
    """

    family: DiffusionFamily

    @property
    def text_parts(self) -> tuple[str, ...]:
        """Names of the text encoders that the pipeline has."""
        return self._named("text_encoder")

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """Names of the tokenizers that the pipeline has."""
        return self._named("tokenizer")

    def _named(self, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(name for name, part in self.family.pipe.components.items() if name.startswith(prefix) and part is not None))

    def _part(self, name: str) -> Any:
        return getattr(self.family.pipe, name, None)

    @abstractmethod
    def told(self, *names: str) -> str:
        """A digest of parts of the pipeline: of everything that what they compute depends on."""

    @abstractmethod
    def having(self, *names: str) -> Any:
        """A context in which these parts are loaded."""

    @abstractmethod
    def settle(self, drawing: bool, trained: Collection[str] = ()) -> None:
        """Loads what training needs and lets all else go.

        Args:
            drawing: whether pictures are drawn during the run, which needs every part.
            trained: names of the text encoders that are trained.
        """

    @abstractmethod
    def give_back(self) -> None:
        """Puts the pipeline back to where it was, where it is the user's."""


class Held(Opened):
    """A pipeline that is in memory."""

    def __init__(self, family: DiffusionFamily, device: torch.device | None = None):
        self.family, self._before = family, family.device
        if device is not None:
            family.pipe.to(device)

    def told(self, *names: str) -> str:
        modules = [part for name in names if isinstance(part := self._part(name), nn.Module)]
        others = [[type(part).__name__, vocabulary(part)] for name in names if not isinstance(part := self._part(name), nn.Module)]
        return digest(fingerprint(modules), [adapters_of(module) for module in modules], others)

    @contextmanager
    def having(self, *names: str) -> Iterator[None]:
        """They are there; inside it they do not drop out, as the T5 of a pipeline put together from parts would."""
        training = [part for name in names if isinstance(part := self._part(name), nn.Module) and part.training]
        for part in training:
            part.eval()
        try:
            yield
        finally:
            for part in training:
                part.train()

    def settle(self, drawing: bool, trained: Collection[str] = ()) -> None:
        if not drawing:
            self.family.rest_encoders(trained)

    def give_back(self) -> None:
        self.family.pipe.to(self._before)


class OnDisk(Opened):
    """The pipeline that a configuration names.

    Args:
        model: the configuration.
        device: where parts are loaded to.
        digests: of files.

    Raises:
        UserError: there is no such pipeline, or no family knows it.
    """

    def __init__(self, model: ModelConfig, device: torch.device, digests: FileDigests):
        self.model, self.device, self.digests = model, device, digests
        self.place = Path(downloaded(model.pretrained, model.variant, model.revision))
        self.vae_place = self.place / VAE if model.vae is None else Path(downloaded_module(model.vae))
        self.outlines = self._outlines()
        self.loaded: set[str] = set()
        self.family = self._opened(self.outlines)
        for name, part in self.family.pipe.components.items():
            if isinstance(part, nn.Module) and name not in self.outlines:
                part.to(device)  # of a library of its own, which no outline is known of

    def told(self, *names: str) -> str:
        kinds = [type(self._part(name)).__name__ for name in names]
        folders = [folder_digest(self._folder(name), self.digests, self.model.variant) for name in names]
        quantized = [self.model.quantization] if self.model.quantization and DENOISERS & set(names) else []
        return digest(kinds, folders, self.model.dtype, *quantized)

    @contextmanager
    def having(self, *names: str) -> Iterator[None]:
        missing = [name for name in names if name not in self.loaded]
        self._load(missing)
        try:
            yield
        finally:
            self._drop(missing)

    def settle(self, drawing: bool, trained: Collection[str] = ()) -> None:
        needed = self.outlines if drawing else {self.family.denoiser_name, *trained}
        self._load([name for name in self.outlines if name in needed and name not in self.loaded])

    def give_back(self) -> None:
        """Nobody holds it."""

    def _load(self, names: Sequence[str]) -> None:
        """Loads parts the way the whole pipeline would be, so that variants and number formats are those of diffusers."""
        if not names:
            return
        pipe = self.family.pipe
        others = {name: part for name, part in pipe.components.items() if name not in names and part is not None}
        loaded = self._opened(others, whole_vae=VAE in names).pipe
        pipe.register_modules(**{name: getattr(loaded, name).to(self.device) for name in names})
        self.loaded |= set(names)

    def _drop(self, names: Sequence[str]) -> None:
        if names:
            self.family.pipe.register_modules(**{name: self.outlines[name] for name in names})
            self.loaded -= set(names)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _opened(self, parts: dict[str, Any], whole_vae: bool = False) -> DiffusionFamily:
        model = self.model
        opening = {"dtype": model.dtype, "variant": model.variant, "vae": str(self.vae_place) if whole_vae and model.vae else None}
        if model.quantization is not None and not DENOISERS & parts.keys():
            opening["quantization"] = model.quantization
        place = (self.place,) if model.family is None else (model.family, self.place)
        return pipelines.load(*place, options=pipelines.options_of(model), parts=parts, **opening)

    def _outlines(self) -> dict[str, nn.Module]:
        """The pipeline's modules without weights, by name."""
        index = DiffusionPipeline.load_config(self.place)
        kinds = {name: _class_of(value) for name, value in index.items() if isinstance(value, list | tuple)}
        return {name: outline(kind, self._folder(name)) for name, kind in kinds.items() if kind is not None}

    def _folder(self, name: str) -> Path:
        return self.vae_place if name == VAE else self.place / name


def outline(kind: type[nn.Module], folder: Path) -> nn.Module:
    """A module of the shape that a folder's configuration says, without weights, on no device."""
    try:
        with init_empty_weights():
            if issubclass(kind, transformers.PreTrainedModel):
                return kind(kind.config_class.from_pretrained(folder))
            return kind.from_config(kind.load_config(folder))
    except OSError as error:
        raise UserError(f"cannot load a pipeline from {folder.parent}: {str(error).splitlines()[0]}") from error


def _class_of(said: Sequence[str | None]) -> type[nn.Module] | None:
    """The class of a part that a pipeline's index names, where it is a module of a known library."""
    if len(said) != 2 or said[0] is None or said[1] is None:
        return None
    # a safety checker is in a module of its pipeline's
    kind = getattr(LIBRARIES.get(said[0]) or getattr(diffusers.pipelines, said[0], None), said[1], None)
    known = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel | diffusers.ModelMixin)
    return kind if known else None


def downloaded(source: str, variant: str | None = None, revision: str | None = None) -> str:
    """The folder of a pipeline: the one that is named, or where the hub's was downloaded to, which is not loading it.

    Raises:
        UserError: there is no such folder or model.
    """
    place = resolve(source)
    if pipelines.looks_local(place):
        return pipelines.found(source)
    try:
        return str(DiffusionPipeline.download(place, variant=variant, revision=revision))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load a pipeline from {source}: {not_given(error) or str(error).splitlines()[0]}") from error


def downloaded_module(source: str) -> str:
    """The folder of a module of its own, such as a VAE that replaces a pipeline's. Raises UserError where there is none."""
    if pipelines.looks_local(source):
        return source
    from huggingface_hub import snapshot_download

    for kind in ("*.safetensors", "*.bin"):
        try:
            place = snapshot_download(source, allow_patterns=["config.json", f"diffusion_pytorch_model{kind}"])
        except (OSError, ValueError) as error:
            raise UserError(f"cannot load a VAE from {source}: {not_given(error) or str(error).splitlines()[0]}") from error
        if list(Path(place).glob(kind)):
            break
    return place


def vocabulary(tokenizer: Any) -> list[Any]:
    """What a tokenizer makes of texts depends on."""
    words = sorted(tokenizer.get_vocab().items()) if hasattr(tokenizer, "get_vocab") else str(tokenizer)
    return [words, getattr(tokenizer, "model_max_length", None)]


def adapters_of(module: nn.Module) -> list[Any]:
    """The adapters that are on in a module, with their scales: tensors do not tell these."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
    return sorted({str([layer.disable_adapters, layer.active_adapters, sorted(getattr(layer, "scaling", {}).items())]) for layer in layers})
