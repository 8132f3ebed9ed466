"""A look at preferences among responses, on rows whose counts are known."""

import json

import pytest
from PIL import Image

from mmalign.data.inspection import inspect_responses
from mmalign.data.inspection.kind import holds_responses
from mmalign.data.inspection.response_sheet import response_sheet
from mmalign.data.inspection.response_text import told_responses
from mmalign.data.sources import open_source
from tests.data.inspection.conftest import png


@pytest.fixture
def answers():
    """Eight rows: 1 has two pictures, 2 none, 3 equal responses, 4 a broken picture, 5 no response, 6 repeats 0 the other way round."""
    rows = [
        {"prompt": f"What is in picture {i}?", "chosen": "a fox" * (i + 1), "rejected": "a dog", "images": [png(i, (8, 4))]}
        for i in range(8)
    ]
    rows[1] |= {"images": [png(20), png(21)], "weight": 2.0}
    rows[2] |= {"images": []}
    rows[3] |= {"rejected": rows[3]["chosen"]}
    rows[4] |= {"images": [png(4)[:40]]}
    rows[5] |= {"rejected": ""}
    rows[6] = {**rows[0], "chosen": rows[0]["rejected"], "rejected": rows[0]["chosen"]}
    rows[7] |= {"rejected_images": [png(30)]}
    return [{"weight": 1.0, "rejected_images": [], **row} for row in rows]


def test_everything_is_counted(answers):
    found, examples = inspect_responses("auto", answers, sample=None)
    assert (found.rows, found.looked_at, len(examples)) == (8, 8, 8)
    assert found.reader == "trl"
    assert "row 4 cannot be read as an image" in found.broken[0]
    assert "row 5: a response is missing or empty" in found.broken[1]
    assert len(found.broken) == 2
    assert found.responses == {2: 6}
    assert found.images == {0: 1, 1: 4, 2: 1}
    # of rows 0, 1, 2, 3, 6 and 7
    assert found.chosen == (5, (10 + 15) / 2, 40)
    assert found.rejected == (5, 5, 20)
    assert (found.longer, found.compared) == (3, 6)
    assert (found.ties, found.equal, found.phrases, found.negatives) == (0, 1, 0, 1)
    assert found.weights == (1.0, 2.0)
    assert found.sizes == {(8, 4): 4, (8, 8): 2}
    assert found.prompts == 5
    assert [(row.rpartition(" ")[2], before.rpartition(" ")[2]) for row, before in found.duplicates] == [("6", "0")]


def test_marked_phrases_are_counted():
    marked = {"answer_masked": "It is <MASK>red</MASK>.", "pred_masked": "It is <MASK>blue</MASK>."}
    found, _ = inspect_responses("auto", [{"question": f"What is {i}?", "image": png(i), **marked} for i in range(3)])
    assert found.reader == "rrpo"
    assert found.phrases == 3
    assert "phrases     marked in 3 rows of 3" in told_responses(found)


def test_it_is_told_in_lines(answers):
    said = told_responses(inspect_responses("auto", answers, sample=None)[0], 100)
    for line in (
        "reader      trl, of responses, as there are the columns prompt, chosen, rejected",
        "responses   2 a row; equal ones in 1 row",
        "characters  preferred: 5 to 40, median 12.5; others: 5 to 20, median 5; the preferred one is the longest",
        "images      0 in 1 row, 1 in 4 rows, 2 in 1 row; others in their place in 1 row",
        "broken      2 rows: ",
        "duplicates  1 row: ",
    ):
        assert " ".join(line.split()) in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 100


def test_some_rows_are_looked_at_and_it_is_said(answers):
    found, _ = inspect_responses("auto", answers * 50, sample=100)
    assert (found.rows, found.looked_at) == (400, 100)
    assert "400, of which 100 were looked at" in told_responses(found)


def test_it_is_written_as_json(answers, tmp_path):
    inspect_responses("auto", answers, sample=None)[0].save(tmp_path / "facts.json")
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["sizes"] == {"8x4": 4, "8x8": 2}
    assert facts["images"] == {"0": 1, "1": 4, "2": 1}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "a", "chosen": "a fox", "rejected": "a dog", "images": [b"x"]}, True),
        ({"prompt": "a", "chosen": "1.jpg", "rejected": "0.jpg"}, False),
        ({"prompt": "a", "chosen": b"x", "rejected": b"y"}, False),
        ({"caption": "a", "jpg_0": b"x", "jpg_1": b"y", "label_0": 1, "label_1": 0}, False),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected_response": "c"}, True),
        ({"something": 1}, False),
    ],
)
def test_which_kind_a_source_is_of_is_told_by_its_first_row(row, expected):
    assert holds_responses("auto", open_source([row]), {}) is expected


def test_a_reader_that_is_named_decides():
    table = open_source([{"prompt": "a", "chosen": "1.jpg", "rejected": "0.jpg"}])
    assert holds_responses("trl", table, {})
    assert not holds_responses("pickapic", table, {})


def test_the_sheet_has_the_preferred_response_in_green_and_the_other_in_red(answers):
    _, examples = inspect_responses("auto", answers, sample=None)
    sheet = response_sheet([examples[0], examples[2]])
    colors = {color for _, color in sheet.convert("RGB").getcolors(1 << 20)}
    assert {(0x1A, 0x7F, 0x37), (0xCF, 0x22, 0x2E)} <= colors
    assert isinstance(sheet, Image.Image)
