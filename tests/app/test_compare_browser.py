"""Compare and Language in a browser, on the real shapes models: wide and narrow, dark and light."""

import json
from http.server import ThreadingHTTPServer
from io import BytesIO
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from mmalign.compare import View
from mmalign.compare.png import read_view
from tests.app.conftest import NARROW, WIDE, serving, shot, too_wide
from tests.app.test_server import Prefixed

pytestmark = pytest.mark.slow

LOOKS = [(WIDE, False), (NARROW, True), (WIDE, True), (NARROW, False)]
VIEW = View(
    "a large red circle at the left on a white background", seeds=(1, 2), steps=2, models=("base", "dpo", "poster"), rewards=("oracle",)
)
DRAWN = "#compare-sheet .sheet img"


def named(size, dark) -> str:
    return f"{'wide' if size == WIDE else 'narrow'}_{'dark' if dark else 'light'}"


def drawn(visit, app, view=VIEW, size=WIDE, dark=False):
    """The page after it has drawn the view that its link says."""
    page = visit(f"{app.url}?{view.to_query()}", size, dark)
    wait_for_pictures(page, len(view.seeds) * len(view.models))
    return page


def wait_for_pictures(page, count: int) -> None:
    page.wait_for_function(f"document.querySelectorAll('{DRAWN}').length == {count} && !document.querySelector('.drawing')")


def choose_tab(page, name: str) -> None:
    """Opens a tab, which on a narrow page is in the menu of those that have no place."""
    tab = page.get_by_role("tab", name=name, exact=True)
    page.wait_for_selector("[role=tab]")
    if not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()


def fetched(page, address: str) -> bytes:
    return page.request.get(page.evaluate("path => new URL(path, location.href).href", address)).body()


@pytest.mark.parametrize(("size", "dark"), LOOKS)
def test_the_empty_page_says_what_to_do_and_fits(visit, app, size, dark):
    page = visit(app.url, size, dark)
    page.wait_for_selector("#compare-draw")
    assert "Nothing is drawn yet" in page.inner_text("#compare-sheet")
    assert not too_wide(page)
    shot(page, f"compare_empty_{named(size, dark)}")


@pytest.mark.parametrize(("size", "dark"), LOOKS)
def test_a_link_draws_its_view_with_scores_and_differences(visit, app, size, dark):
    page = drawn(visit, app, size=size, dark=dark)
    page.wait_for_function("document.querySelectorAll('#compare-sheet .score em').length == 4")
    assert page.input_value("#compare-prompt textarea") == VIEW.prompt
    assert page.input_value("#compare-seeds input, #compare-seeds textarea") == "1-2"
    assert [cell.inner_text() for cell in page.locator("#compare-sheet .model").all()] == ["base", "dpo", "poster"]
    page.wait_for_selector("#compare-slide img")
    page.wait_for_function("[...document.querySelectorAll('#compare-slide img')].every(image => image.complete && image.naturalWidth)")
    assert not too_wide(page)
    shot(page, f"compare_{named(size, dark)}")


def test_downloads_are_lossless_and_say_how_they_were_drawn(visit, app):
    page = drawn(visit, app)
    link = page.locator("#compare-sheet a.file").nth(1)
    content = fetched(page, link.get_attribute("href"))
    assert link.get_attribute("download") == "dpo_seed1.png"
    assert content == fetched(page, page.locator(DRAWN).nth(1).get_attribute("src"))
    view = read_view(content)
    assert (view.models, view.seeds, view.steps) == (("dpo",), (1,), 2)
    again = drawn(visit, app, view)
    same = fetched(again, again.locator(DRAWN).first.get_attribute("src"))
    assert np.array_equal(*(np.asarray(Image.open(BytesIO(one))) for one in (content, same)))


def test_a_drawing_streams_stops_and_starts_again(visit, app):
    page = visit(app.url)
    page.fill("#compare-seeds input, #compare-seeds textarea", "0-9")
    page.click("#compare-draw")
    page.wait_for_selector(".drawing .bar")
    page.wait_for_selector(DRAWN)
    shot(page, "compare_drawing")
    page.click("#compare-stop")
    page.wait_for_function("document.querySelector('#compare-sheet').innerText.includes('Stopped')")
    stopped = page.locator(DRAWN).count()
    assert 1 <= stopped < 40
    page.fill("#compare-seeds input, #compare-seeds textarea", "5")
    page.click("#compare-draw")
    wait_for_pictures(page, 4)


def test_who_leaves_the_page_frees_the_model_for_others(visit, app):
    page = visit(f"{app.url}?{View(VIEW.prompt, seeds=tuple(range(16)), steps=150).to_query()}")
    page.wait_for_selector(".drawing .bar")
    page.context.close()
    drawn(visit, app, View(VIEW.prompt, seeds=(3,), steps=1, models=("base",)))  # it would wait for 64 pictures of 150 steps each


def test_after_a_drawing_the_address_of_the_page_says_it(visit, app):
    page = visit(app.url)
    page.fill("#compare-seeds input, #compare-seeds textarea", "7")
    page.click("#compare-draw")
    page.wait_for_url("**/?prompt=*")
    view = View.from_query(page.url.split("?")[1])
    assert view.seeds == (7,)
    assert view.models[0] == "base"


def test_pictures_and_links_are_found_behind_a_prefix(visit, tmp_path):
    with serving(tmp_path, "-m", "mmalign", "app", "--root-path", "/team") as served:
        proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Prefixed,), {"target": served.url, "tells": True}))
        Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            page = visit(f"http://127.0.0.1:{proxy.server_port}/team/?{VIEW.only('dpo', 1).to_query()}")
            wait_for_pictures(page, 1)
            assert page.locator(DRAWN).get_attribute("src").startswith("/team/gradio_api/file=")
            page.wait_for_function(f"document.querySelector('{DRAWN}').naturalWidth == 64")
            page.close()  # what it still asks for would fail without the proxy
        finally:
            proxy.shutdown()


def test_a_mistake_is_said_in_a_sentence_and_can_be_mended(visit, app):
    page = visit(app.url)
    page.fill("#compare-prompt textarea", "")
    page.click("#compare-draw")
    page.wait_for_selector("#compare-sheet .problem")
    assert "prompt is empty" in page.inner_text("#compare-sheet")
    shot(page, "compare_problem")
    wrong = visit(f"{app.url}?prompt=fox&steps=99999")
    wrong.wait_for_selector("#compare-sheet .problem")
    assert "99999 steps" in wrong.inner_text("#compare-sheet")


def test_a_file_of_a_view_sets_the_fields(visit, app, tmp_path):
    page = visit(app.url)
    page.get_by_text("Keep and share").click()
    file = tmp_path / "view.json"
    file.write_text(VIEW.to_json())
    with page.expect_file_chooser() as chooser:
        page.click("#compare-open")
    chooser.value.set_files(str(file))
    page.wait_for_function("document.querySelector('#compare-sheet').innerText.includes('Press Draw')")
    assert page.input_value("#compare-prompt textarea") == VIEW.prompt
    assert json.loads(VIEW.to_json())["seeds"] == [1, 2]
    assert page.input_value("#compare-seeds input, #compare-seeds textarea") == "1-2"


@pytest.mark.parametrize(("size", "dark"), LOOKS)
def test_answers_stand_side_by_side_with_the_attention_to_each_picture(visit, app, size, dark):
    page = visit(app.url, size, dark)
    choose_tab(page, "Language")
    assert "Nothing is asked yet" in page.inner_text("#ask-answers")
    page.click("#ask-example")
    page.wait_for_function("document.querySelector('#ask-question textarea').value.length > 3")
    page.wait_for_function("document.querySelectorAll('#ask-pictures img').length > 0")
    page.click("#ask")
    page.wait_for_function("document.querySelectorAll('.answered .looks').length == 2")
    assert page.locator(".answered").count() == 2
    assert not too_wide(page)
    shot(page, f"language_{named(size, dark)}")
