"""Compare: one prompt, the base and any number of aligned models side by side from the same noise, with scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlparse

import gradio as gr
from gradio.context import Context
from gradio.route_utils import get_root_url

from mmalign.app import grid, words
from mmalign.app.comparing import Comparing, Sheet, told, view_of
from mmalign.app.fields import Fields
from mmalign.app.files import Shelf
from mmalign.app.queues import INTERNAL, MODEL, QUICK
from mmalign.compare import Studio, View
from mmalign.errors import UserError

HIDDEN: dict[str, Any] = {"show_progress": "hidden"}
KEPT = 6 * 3600
"""Seconds that a page remembers its sheet for, as long as the files are kept."""
SLIDER = 512
"""Pixels that small pictures are brought to for the slider, each pixel as a square."""
REPLACE = """(link) => {
  if (!link) return;
  const kept = [...new URLSearchParams(location.search)].filter(([word]) => word.startsWith("__")).map((pair) => pair.join("="));
  history.replaceState(null, "", "?" + [link.split("?")[1], ...kept].join("&"));
}"""
"""The address of the page says what is seen."""


class Desk:
    """What the buttons do.

    Args:
        comparing: draws.
        fields: what is drawn.
        blocks: the page.
    """

    def __init__(self, comparing: Comparing, fields: Fields, blocks: gr.Blocks):
        self.comparing, self.fields, self.blocks = comparing, fields, blocks

    def opened(self, request: gr.Request) -> list[Any]:
        """Fields as the link says, and whether something is to be drawn; a link that cannot be read is told about."""
        try:
            view = View.from_query(dict(request.query_params))
            view = view and self.comparing.studio.filled(view)
        except UserError as error:
            return [*self.fields.shown(None), False, words.problem(f"This link cannot be drawn: {error}")]
        return [*self.fields.shown(view), view is not None, gr.skip() if view is None else words.note("Waiting for the model ...")]

    def read(self, file: str | None) -> list[Any]:
        """Fields as a file says."""
        try:
            view = self.comparing.opened_view(file or "")
        except UserError as error:
            return [*self.fields.shown(None), words.problem(error)]
        return [*self.fields.shown(view), words.note("The view of this file is set. Press Draw.")]

    def draw_link(self, request: gr.Request, wanted: bool, *values: Any) -> Iterator[list[Any]]:
        """What a link says is drawn at once."""
        if wanted:
            yield from self.draw(request, *values)
        else:
            yield [gr.skip()] * 8

    def draw(self, request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        """The sheet as it fills, then the slider, the files and the link."""
        try:
            view = self.fields.view(*values)
        except UserError as error:
            yield [gr.skip(), words.problem(error), *[gr.skip()] * 6]
            return
        prefix = urlparse(root(request, self.blocks)).path.rstrip("/")
        address = partial(grid.address, prefix)
        sheet = Sheet(view)
        for sheet in self.comparing.draw(view, request.session_hash or ""):
            yield [gr.skip(), grid.html(sheet, address), *[gr.skip()] * 6]
        yield [sheet, grid.html(sheet, address), *self._after(sheet, request)]

    def stop(self, request: gr.Request) -> None:
        """Stops what this session draws."""
        self.comparing.stop(request.session_hash or "")

    def slide(self, sheet: Sheet | None, left: str, right: str, seed: int | None) -> list[Any]:
        """The slider between two models' pictures of one seed, and whether it is there."""
        try:
            found = None if sheet is None or seed is None else self.comparing.pair(sheet, left, right, seed)
        except UserError:
            found = None
        return [None if found is None else tuple(map(enlarged, found)), gr.Column(visible=found is not None)]

    def _after(self, sheet: Sheet, request: gr.Request) -> list[Any]:
        """Choices of the slider, downloads, and the link."""
        if not sheet.cells:
            return [gr.skip()] * 6
        models, seeds = list(sheet.view.models), list(sheet.view.seeds)
        choices = (models[0], models[-1], seeds[0])
        kinds = (models, models, seeds)
        boxes = [gr.Dropdown(choices=known, value=value) for known, value in zip(kinds, choices, strict=True)]
        link = f"{root(request, self.blocks)}/?{sheet.view.to_query()}"
        files = (self.comparing.bundled(sheet), self.comparing.view_file(sheet))
        return [*boxes, link, *(gr.DownloadButton(value=str(file), interactive=True) for file in files)]


@dataclass(frozen=True)
class Parts:
    """What stands on the tab.

    Attributes:
        pictures: the sheet.
        slide: the column of the slider, which is there when there is something to slide.
        left, right, seed: what the slider is between.
    """

    tab: gr.Tab
    fields: Fields
    draw: gr.Button
    stop: gr.Button
    pictures: gr.HTML
    slide: gr.Column
    slider: gr.ImageSlider
    left: gr.Dropdown
    right: gr.Dropdown
    seed: gr.Dropdown
    link: gr.Textbox
    zipped: gr.DownloadButton
    saved: gr.DownloadButton
    reopened: gr.UploadButton


def build(studio: Studio, prompt: str = "") -> None:
    """Adds the tab to the open page, with the endpoint ``/compare``.

    Args:
        studio: the models.
        prompt: what stands in the prompt at first.
    """
    with gr.Tab("Compare", id="compare") as tab, gr.Row(elem_id="compare"):
        with gr.Column(scale=1, min_width=290, elem_id="compare-fields"):
            fields = Fields(studio, prompt)
            with gr.Row():
                draw = gr.Button("Draw", variant="primary", elem_id="compare-draw", min_width=100)
                stop = gr.Button("Stop", elem_id="compare-stop", min_width=80)
        with gr.Column(scale=3, min_width=320):
            pictures = gr.HTML(grid.html(None), elem_id="compare-sheet")
            with gr.Column(elem_id="compare-slide", visible=False) as slide:
                slider = gr.ImageSlider(
                    format="png", interactive=False, slider_position=50, label="Slide between two", buttons=["fullscreen"]
                )
                with gr.Row():
                    left, right, seed = (gr.Dropdown([], label=side, min_width=130) for side in ("Left", "Right", "Seed"))
            with gr.Accordion("Keep and share", open=False):
                link = gr.Textbox(label="Link to this view", interactive=False, buttons=["copy"], elem_id="compare-link")
                with gr.Row():
                    zipped = gr.DownloadButton("All pictures (PNG)", interactive=False, elem_id="compare-zip")
                    saved = gr.DownloadButton("View as a file", interactive=False, elem_id="compare-view")
                    reopened = gr.UploadButton("Open a view or a PNG", file_types=[".json", ".png"], elem_id="compare-open")
    _wire(studio, Parts(tab, fields, draw, stop, pictures, slide, slider, left, right, seed, link, zipped, saved, reopened))


def _wire(studio: Studio, on: Parts) -> None:
    """What happens when something on the tab is pressed, chosen or opened."""
    with on.tab:
        sheet, wanted = gr.State(None, time_to_live=KEPT), gr.State(False)
    page, fields = Context.root_block, on.fields
    desk = Desk(Comparing(studio, Shelf(on.pictures).keep), fields, page)
    results = [sheet, on.pictures, on.left, on.right, on.seed, on.link, on.zipped, on.saved]
    waiting = {"fn": lambda: words.note("Waiting for the model ..."), "outputs": on.pictures, **HIDDEN, **QUICK, **INTERNAL}
    drawing = {"outputs": results, **HIDDEN, **MODEL, **INTERNAL}
    between = [sheet, on.left, on.right, on.seed]
    sliding = {"fn": desk.slide, "inputs": between, "outputs": [on.slider, on.slide], **HIDDEN, **QUICK, **INTERNAL}
    asked = gr.on([on.draw.click, fields.prompt.submit], **waiting).then(desk.draw, fields.all, **drawing)
    loaded = page.load(desk.opened, None, [*fields.all, wanted, on.pictures], **HIDDEN, **QUICK, **INTERNAL)
    linked = loaded.then(desk.draw_link, [wanted, *fields.all], **drawing)
    for done in (asked, linked):
        done.then(**sliding).then(None, on.link, None, js=REPLACE)
    for choice in (on.left, on.right, on.seed):
        choice.input(**sliding)
    on.stop.click(desk.stop, None, None, **HIDDEN, **QUICK, **INTERNAL)
    page.unload(desk.stop)
    on.reopened.upload(desk.read, on.reopened, [*fields.all, on.pictures], **HIDDEN, **QUICK, **INTERNAL)
    on.tab.select(lambda: fields.shown(None), None, fields.all, **HIDDEN, **QUICK, **INTERNAL)
    with on.tab:
        gr.api(endpoint(desk.comparing), api_name="compare", **MODEL)


def endpoint(comparing: Comparing) -> Any:
    """The function behind ``/compare``."""

    def compare(
        prompt: str,
        negative_prompt: str = "",
        seeds: str = "0",
        steps: int | None = None,
        guidance: float | None = None,
        width: int | None = None,
        height: int | None = None,
        models: list[str] | None = None,
        scales: dict[str, float] | None = None,
        rewards: list[str] | None = None,
        frames: int | None = None,
    ) -> tuple[dict, list]:
        """Draws a prompt with several models from the same noise, and scores the pictures, or the clips of so many frames.

        Numbers that are left out are the model's own; no models are all of them; scales are LoRA scales by model. Gives the view that was
        drawn with a row of scores for each picture, and the pictures as PNG files, lossless and with their settings.
        """
        try:
            known = models or list(comparing.studio.names)
            plain = (prompt, negative_prompt, seeds, steps, guidance, width, height, known, rewards or [])
            view = view_of(*plain, scales=scales or {}, frames=frames)
            *_, sheet = comparing.draw(view)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        if sheet.trouble:
            raise gr.Error(sheet.trouble, print_exception=False)
        files = [{"path": str(cell.file), "meta": {"_type": "gradio.FileData"}} for cell in sheet.cells.values()]
        return {"link": sheet.view.to_query(), "pictures": told(sheet), "missing": dict(sheet.missing)}, files

    return compare


def enlarged(image: Any) -> Any:
    """A small picture with each of its pixels as a square of several; a large one as it is."""
    factor = SLIDER // max(image.size)
    return image if factor < 2 else image.resize((image.width * factor, image.height * factor), resample=0)


def root(request: gr.Request, blocks: gr.Blocks) -> str:
    """Where the page lies, as the browser calls it."""
    return get_root_url(request.request, "/gradio_api/queue/join", blocks.root_path)
