"""The models of a run: looked at before anything is drawn, and loaded one at a time."""

import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from mmalign.config.generate import DrawsConfig, GeneratorConfig
from mmalign.diffusion.adapters import switch_to, takes_lora
from mmalign.diffusion.aligned import ADAPTER_NAME, denoiser_from, load_adapter, lora_file
from mmalign.diffusion.draw import Drawn, draw, draws_films
from mmalign.diffusion.usual import defaults_of
from mmalign.errors import UserError
from mmalign.factory.memory import let_go
from mmalign.personalization import UserConditioner
from mmalign.personalization.conditioner import FILE
from mmalign.personalization.denoiser import keyword
from mmalign.pipelines import looks_local, open_pipeline, pipeline_class
from mmalign.plugins import nearest
from mmalign.shapes.models import PREFIX
from mmalign.shapes.settings import CALL

DENOISERS = ("transformer", "unet", "prior_prior", "prior")
"""What diffusers calls the part that is aligned, the first that a pipeline has."""


class Models:
    """Draws with the models of a configuration, of which one is in memory.

    Attributes:
        films: whether one of them draws films.
        told: of each model, the arguments of its call, with the pipeline's own steps and guidance where nobody says them.

    Raises:
        UserError: a model is not there, or takes no argument of such a name; said of all models before the first is loaded.
    """

    def __init__(self, config: DrawsConfig):
        self._models = config.models
        self._calls = [{**_tuned(model), **config.call_of(model)} for model in config.models]
        draw_films = [_check(model, call, config) for model, call in zip(self._models, self._calls, strict=True)]
        self.told = [{**defaults_of(_class_of(model)), **call} for model, call in zip(self._models, self._calls, strict=True)]
        self.films = any(draw_films)
        self._number, self._pipe = -1, None

    def open(self, number: int) -> None:
        """Loads the model of that number, if it is not there; the one that was is let go before."""
        if number != self._number:
            self.close()
            self._pipe, self._number = open_model(self._models[number]), number

    def draw(self, number: int, prompts: Sequence[str], seeds: Sequence[int]) -> Drawn:
        """Pictures, or clips, by the model of that number."""
        self.open(number)
        return draw(self._pipe, prompts, seeds, films=True, **self._calls[number], **told_of(self._pipe, self._models[number]))

    def close(self) -> None:
        """Lets the model's memory go."""
        if self._pipe is None:
            return
        self._pipe, self._number = None, -1
        let_go()


def open_model(model: GeneratorConfig) -> Any:
    """The pipeline of a model, with its adapter, where it shall run.

    Raises:
        UserError: it cannot be loaded; the message says why.
    """
    options = {"dtype": model.dtype, "vae": model.vae, "variant": model.variant, "revision": model.revision}
    try:
        pipe = open_pipeline(model.pretrained, kind=_kind(model), parts=model.parts, **options)
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot load {model.title} from {model.pretrained} ({reason}); look at its pipeline and parts") from error
    if model.adapter_path is not None:
        _add(pipe, model, Path(model.adapter_path).expanduser())
    pipe.set_progress_bar_config(disable=True)
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if model.offload and accelerator is not None:
        pipe.enable_model_cpu_offload(torch.accelerator.current_device_index())
        return pipe
    return pipe.to(accelerator or "cpu")


def told_of(pipe: Any, model: GeneratorConfig) -> dict[str, Any]:
    """What a pipeline is called with beside all else, to draw for the model's user."""
    return {} if model.user is None else {keyword(getattr(pipe, _denoiser_of(pipe))): {"user": model.user}}


def _add(pipe: Any, model: GeneratorConfig, place: Path) -> None:
    """What was aligned, in place of the base or on it, and what draws for its users."""
    name, personal = _denoiser_of(pipe), (place / FILE).is_file()
    if name and (place / name).is_dir():
        setattr(pipe, name, denoiser_from(place, name, getattr(pipe, name)))
    elif not personal or (place / lora_file(pipe)).is_file():
        load_adapter(pipe, name, place if place.exists() else model.adapter_path)
        if takes_lora(pipe):
            pipe.set_adapters([ADAPTER_NAME], [model.adapter_scale])
        else:
            switch_to(getattr(pipe, name), [ADAPTER_NAME], model.adapter_scale)
    elif model.user is None:
        raise UserError(f"{place} holds a conditioner alone, which draws as the base for nobody; name a user of {model.title}")
    if model.user is not None:
        conditioner = UserConditioner.load(place).attach(pipe)
        conditioner.scale = model.adapter_scale
        conditioner.given(model.user)  # an unknown name is told now


def _denoiser_of(pipe: Any) -> str:
    return next((name for name in DENOISERS if getattr(pipe, name, None) is not None), "")


def _check(model: GeneratorConfig, call: dict[str, Any], config: DrawsConfig) -> bool:
    """What can be said before hours are spent on the models before this one; gives whether it draws films."""
    kind = _class_of(model)
    known = inspect.signature(kind.__call__).parameters
    _check_format(f"{model.title} ({kind.__name__})", draws_films(kind), config)
    # some of diffusers' own pipelines swallow what they do not know
    open_to_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if not open_to_all or (kind.__module__.startswith("diffusers.pipelines.") and kind.__name__ != "DiffusionPipeline"):
        for name in call:
            if name not in known:
                raise UserError(f"{model.title} ({kind.__name__}) takes no {name!r}; {nearest(name, sorted(known))}")
    if model.adapter_path is not None and looks_local(model.adapter_path) and not Path(model.adapter_path).expanduser().exists():
        raise UserError(f"adapter_path of {model.title}: there is no {model.adapter_path}; give the output folder of a training run")
    return draws_films(kind)


def _class_of(model: GeneratorConfig) -> type:
    return pipeline_class(model.pretrained, model.revision) if model.pipeline is None else _kind(model)


def _tuned(model: GeneratorConfig) -> Mapping[str, Any]:
    """Of an embedded model, what it draws best with."""
    return CALL if model.pretrained.startswith(PREFIX) else {}


def _check_format(name: str, films: bool, config: DrawsConfig) -> None:
    """Raises UserError where pictures are asked for as clips are, or clips as pictures are."""
    if not films:
        for key in ("frames", "fps"):
            if getattr(config, key) is not None:
                raise UserError(f"{key} is for models of films, which {name} is not; leave it out")
        if config.image_format == "mp4":
            raise UserError(f"image_format is mp4, which is for clips, and {name} draws pictures; choose png, jpeg or webp")
    elif config.image_format not in ("png", "mp4"):
        raise UserError(f"image_format is {config.image_format}, but {name} draws films; choose png, which loses nothing, or mp4")
    elif config.image_format == "mp4" and importlib.util.find_spec("av") is None:
        raise UserError("image_format mp4 needs PyAV: pip install 'mmalign[video]'; or choose png")


def _kind(model: GeneratorConfig) -> Any:
    """The class to load a pipeline with: one of diffusers, or, with dots, of any module."""
    import diffusers

    if model.pipeline is None:
        return diffusers.DiffusionPipeline
    module, _, name = model.pipeline.rpartition(".")
    try:
        return getattr(import_module(module) if module else diffusers, name)
    except (ImportError, AttributeError) as error:
        known = [other for other in dir(diffusers) if other.endswith("Pipeline")]
        hint = nearest(name, known) if not module else "write MODULE.CLASS"
        hint = hint if hint.startswith(("did", "write")) else "see diffusers for its classes"
        raise UserError(f"pipeline of {model.title}: there is no class {model.pipeline!r}; {hint}") from error
