"""A base and its aligned models in one pipeline, ready to draw the same view side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image

from mmalign import pipelines
from mmalign.compare.adapters import Adapter, open_adapter
from mmalign.compare.drawing import draw_one
from mmalign.compare.limits import DEFAULT, Limits
from mmalign.compare.pictures import Picture, Progress, check_sides, defaults_of, parameters_of
from mmalign.compare.scoring import Scored, Scorers
from mmalign.compare.turns import Cancelled, Turn
from mmalign.compare.view import BASE, View, check_name
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.frames import JUDGED, evenly
from mmalign.personalization.embeddings import User
from mmalign.plugins import nearest
from mmalign.reward import Reward
from mmalign.scorers.model import find_device
from mmalign.shapes import models as embedded


class Studio:
    """Any number of aligned models over one base. The pipeline draws one picture at a time, for whoever comes first.

    Args:
        family: the base.
        aligned: places of aligned models by name, see ``open_adapter``.
        scorers: rewards by title, or what loads them.
        source: what the base is called in messages and files.
        limits: what a view may ask for.

    Raises:
        UserError: an aligned model does not fit the base; the message names it.
    """

    def __init__(
        self,
        family: DiffusionFamily,
        aligned: Mapping[str, str | Path] | None = None,
        scorers: Mapping[str, Reward | Callable[[], Reward]] | None = None,
        source: str = "",
        limits: Limits = DEFAULT,
    ):
        self.family, self.source, self.limits = family, source or str(family.pipe.config.get("_name_or_path", "")), limits
        self.scorers = Scorers(scorers or {})
        self.defaults = defaults_of(family)
        self._adapters: dict[str, Adapter] = {}
        self._keys = count()
        self._turn = Turn()
        for name, place in (aligned or {}).items():
            self.add(name, place)

    @classmethod
    def open(
        cls,
        base: str = "shapes/sdxl",
        aligned: Mapping[str, str | Path] | None = None,
        device: str = "auto",
        dtype: str | None = None,
        **given: Any,
    ) -> "Studio":
        """A studio from places.

        Args:
            base: a diffusers folder, a hub id, or shapes/NAME, which comes with the aligned models that are shipped for it.
            dtype: number format of the weights; None = float16 on an accelerator, float32 on the CPU.
            **given: scorers and limits, as the class takes them.

        Raises:
            UserError: there is no such base, device or aligned model.
        """
        place = find_device(device)
        family = pipelines.load(base, dtype=dtype or ("float32" if place.type == "cpu" else "float16"))
        family.pipe.to(place)
        shipped = embedded.aligned(base.removeprefix(embedded.PREFIX)) if base.startswith(embedded.PREFIX) else {}
        return cls(family, {**shipped, **(aligned or {})}, source=base, **given)

    # ---- the models

    @property
    def names(self) -> tuple[str, ...]:
        """The base, then the aligned models in the order they came."""
        return (BASE, *self._adapters)

    @property
    def aligned(self) -> Mapping[str, Adapter]:
        """The aligned models by name."""
        return dict(self._adapters)

    def add(self, name: str, place: str | Path) -> None:
        """One more aligned model, for all from now on.

        Raises:
            UserError: the name is taken or none, or what lies at the place does not fit this base; the message names it.
        """
        if check_name(name) in self.names:
            raise UserError(f"a model is called {name} already; choose another name")
        with self._turn:
            try:
                self._adapters[name] = open_adapter(self.family, place, f"aligned_{next(self._keys)}")
            except UserError as error:
                raise UserError(f"{name}: {error}") from error

    def remove(self, name: str) -> None:
        """One aligned model less. Raises UserError where there is none of that name."""
        with self._turn:
            self._known(name).remove()
            del self._adapters[name]

    def about(self, name: str, scale: float = 1.0) -> str:
        """What tells a model from another of its name: its weights, and the scale of its adapter."""
        if name == BASE:
            return self.source
        said = self._known(name).digest
        return said if scale == 1 else f"{said}, scale {scale:g}"

    def _known(self, name: str) -> Adapter:
        if name not in self._adapters:
            raise UserError(f"no model is called {name!r}; {nearest(name, list(self.names))}")
        return self._adapters[name]

    # ---- drawing

    def filled(self, view: View) -> View:
        """A view with every number and name in it.

        Raises:
            UserError: it asks for more than the limits, for sides that the model cannot draw, or for what is not there.
        """
        defaults = self.defaults
        full = replace(
            view,
            steps=defaults.steps if view.steps is None else view.steps,
            guidance=defaults.guidance if view.guidance is None else view.guidance,
            width=view.width or defaults.side,
            height=view.height or defaults.side,
            frames=view.frames or defaults.frames,
            models=view.models or self.names,
        )
        self._check(full)
        return full

    def _check(self, view: View) -> None:
        for name in view.models:
            adapter = None if name == BASE else self._known(name)
            if view.scale(name) != 1 and not (adapter and adapter.scaled):
                raise UserError(f"{name} has no adapter whose scale could be changed; leave it at 1")
        self.scorers.check(view.rewards)
        self.limits.check(view)
        check_sides(view, self.defaults.multiple, self.family.longest_side)
        self.family.sized(frames=view.frames)
        if view.negative_prompt and "negative_prompt" not in parameters_of(self.family.pipe):
            raise UserError(f"{type(self.family.pipe).__name__} takes no negative prompt; leave it empty")

    def draw(
        self,
        view: View,
        on_progress: Callable[[Progress], object] = lambda progress: None,
        cancelled: Callable[[], bool] = lambda: False,
        user: User = None,
    ) -> Iterator[Picture]:
        """The pictures of a view as they are done, seed by seed and model by model, all models from the same noise.

        Args:
            on_progress: told before each picture and after each of its steps.
            cancelled: asked between steps.
            user: an embedding for personal models, in place of the view's user.

        Raises:
            UserError: the view asks for what cannot be drawn; a model's own trouble names the model.
            Cancelled: ``cancelled`` has said so.
        """
        view = self.filled(view)
        wanted = [(seed, model) for seed in view.seeds for model in view.models]
        for place, (seed, model) in enumerate(wanted):

            def watch(step: int, steps: int, place: int = place, seed: int = seed, model: str = model) -> None:
                if cancelled():
                    raise Cancelled
                on_progress(Progress(model, seed, step, steps, place, len(wanted)))

            one = view.only(model, seed)
            with self._turn.unless(cancelled):
                watch(0, view.steps or 1)
                frames = self._picture(one, view.user if user is None else user, watch)
            yield Picture(one, frames)

    def _picture(self, view: View, user: User, watch: Callable[[int, int], None]) -> tuple[Image.Image, ...]:
        model = view.models[0]
        call = {
            "num_inference_steps": view.steps,
            "guidance_scale": view.guidance,
            **self.family.sized(view.height, view.width, view.frames),
        }
        call |= {"negative_prompt": view.negative_prompt} if view.negative_prompt else {}
        switched = nullcontext({}) if model == BASE else self._known(model).on(view.scale(model), user)
        try:
            with switched as more:
                return draw_one(self.family, view.prompt, view.seeds[0], call | more, watch)
        except (UserError, ValueError) as error:  # pipelines refuse what they cannot draw by a ValueError
            raise UserError(f"{model}: {error}") from error

    # ---- scores

    def score(self, pictures: Sequence[Picture], rewards: Sequence[str]) -> list[Scored]:
        """Scores of pictures under their prompts, with the difference to the base's picture of the same seed.

        Raises:
            UserError: there is no such reward.
        """
        bases = {one.seed: place for place, one in enumerate(pictures) if one.model == BASE}
        against = [None if one.model == BASE else bases.get(one.seed) for one in pictures]
        images, prompts = [evenly(one.frames, JUDGED) for one in pictures], [one.view.prompt for one in pictures]
        return [self.scorers.score(name, images, prompts, against) for name in rewards]
