"""The fields of Compare: what they hold, the view that they say, and a view put into them."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from mmalign.app.comparing import view_of
from mmalign.compare import Studio, View
from mmalign.compare.links import read_user, written_user
from mmalign.compare.seeds import write_seeds
from mmalign.errors import UserError


class Fields:
    """The fields that say what is drawn, and what they hold.

    Args:
        studio: its models, rewards and limits.
        prompt: what stands in the prompt at first.
    """

    def __init__(self, studio: Studio, prompt: str = ""):
        self.studio = studio
        defaults, limits = studio.defaults, studio.limits
        self.prompt = gr.Textbox(prompt, label="Prompt", lines=2, max_length=limits.prompt, elem_id="compare-prompt")
        self.models = gr.CheckboxGroup(
            list(studio.names), value=list(studio.names)[: limits.models], label="Models", elem_id="compare-models"
        )
        rewards = list(studio.scorers.names)
        self.rewards = gr.CheckboxGroup(rewards, value=rewards[:2], label="Scores", visible=bool(rewards))
        with gr.Row():
            self.seeds = gr.Textbox("0-1", label="Seeds", placeholder="0-3, 17", min_width=90, elem_id="compare-seeds")
            self.steps = gr.Number(defaults.steps, label="Steps", precision=0, minimum=1, maximum=limits.steps, min_width=80)
            self.guidance = gr.Number(defaults.guidance, label="Guidance", minimum=0, step=0.5, min_width=80)
        with gr.Accordion("More", open=False):
            self.negative = gr.Textbox("", label="Negative prompt", max_length=limits.prompt)
            with gr.Row():
                size = {"precision": 0, "step": defaults.multiple, "minimum": defaults.multiple, "maximum": limits.side, "min_width": 90}
                self.width = gr.Number(defaults.side, label="Width", **size)
                self.height = gr.Number(defaults.side, label="Height", **size)
                few = {"precision": 0, "minimum": 1, "maximum": limits.frames, "min_width": 90, "visible": defaults.frames is not None}
                self.frames = gr.Number(defaults.frames, label="Frames", **few)
            self.user = gr.Dropdown(
                self._users(),
                value="",
                label="Person",
                info="a name, or a mixture: ann:0.3,ben:0.7",
                allow_custom_value=True,
                visible=False,
            )
            self.scales = [self._scale(place) for place in range(limits.models)]

    @property
    def all(self) -> list[Any]:
        """Every field, in the order that ``view`` takes and ``shown`` gives them."""
        plain = [self.prompt, self.negative, self.seeds, self.steps, self.guidance, self.width, self.height, self.models, self.rewards]
        return [*plain, self.user, self.frames, *self.scales]

    def view(self, *values: Any) -> View:
        """What the fields say. Raises UserError where nothing can be drawn with it."""
        *plain, user, frames = values[:11]
        scales = dict(zip(self._scaled(), values[11:], strict=False))
        # a page may send a number for a field that it does not show
        return view_of(*plain, scales=scales, user=_user(user), frames=None if self.studio.defaults.frames is None else frames)

    def shown(self, view: View | None) -> list[Any]:
        """Updates of all fields: the models that there are now, and what a view says where there is one."""
        names, users = list(self.studio.names), self._users()
        visible = {"visible": len(users) > 1}
        if view is None:
            plain = [gr.skip()] * 7
            people = gr.Dropdown(choices=users, **visible)
            return [*plain, gr.CheckboxGroup(choices=names), gr.skip(), people, gr.skip(), *self._scales({})]
        plain = [view.prompt, view.negative_prompt, write_seeds(view.seeds), view.steps, view.guidance, view.width, view.height]
        models = gr.CheckboxGroup(choices=names, value=list(view.models))
        user = gr.Dropdown(choices=users, value=written_user(view.user or ""), **visible)
        return [*plain, models, list(view.rewards), user, view.frames, *self._scales(view.scales)]

    def _scaled(self) -> list[str]:
        return [name for name, adapter in self.studio.aligned.items() if adapter.scaled][: self.studio.limits.models]

    def _users(self) -> list[tuple[str, str]]:
        known = sorted({user for adapter in self.studio.aligned.values() for user in adapter.users})
        return [("nobody", ""), *((user, user) for user in known)]

    def _scale(self, place: int) -> gr.Slider:
        names = self._scaled()
        name = names[place] if place < len(names) else ""
        return gr.Slider(0, 2, value=1, step=0.05, label=_scale_label(name), visible=bool(name))

    def _scales(self, scales: Mapping[str, float]) -> list[Any]:
        names = self._scaled()
        shown = [gr.Slider(label=_scale_label(name), value=scales.get(name, 1.0), visible=True) for name in names]
        return [*shown, *[gr.Slider(visible=False)] * (self.studio.limits.models - len(names))]


def _scale_label(name: str) -> str:
    return f"Scale: {name}"


def _user(text: str | None) -> str | dict[str, float] | None:
    try:
        return read_user(text) if text else None
    except ValueError as error:
        raise UserError(f"{text!r} is no person; give a name, or names with weights, such as ann:0.3,ben:0.7") from error
