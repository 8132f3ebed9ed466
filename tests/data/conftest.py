"""Tiny preferences, made at test time: the red channel of an image says which pair it is of, the green one whether it is preferred."""

from io import BytesIO

import pytest
from PIL import Image

from mmalign.data import open_image

WINNER, LOSER = 200, 100


def paint(pair: int, side: int) -> Image.Image:
    return Image.new("RGB", (6, 4), (pair, side, 7))


def encode(image: Image.Image, format: str = "PNG") -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=format)
    return buffer.getvalue()


@pytest.fixture
def png():
    """png(pair, side): the bytes of an image that says what it is."""
    return lambda pair, side: encode(paint(pair, side))


@pytest.fixture
def seen():
    """seen(example): what its images say, as (pair, side) in order."""

    def look(example):
        return [open_image(source, example.origin).getpixel((0, 0))[:2] for source in example.images]

    return look


@pytest.fixture
def in_order(seen):
    """in_order(examples): checks that they are pairs 0, 1, 2, ... with the winner first and the right prompt."""

    def check(examples, count):
        assert len(examples) == count
        for pair, example in enumerate(examples):
            assert example.prompt == f"prompt {pair}"
            assert seen(example) == [(pair, WINNER), (pair, LOSER)]

    return check


@pytest.fixture
def chosen_rows(png):
    """Three rows with the columns prompt, chosen, rejected and images as bytes."""
    return [{"prompt": f"prompt {i}", "chosen": png(i, WINNER), "rejected": png(i, LOSER)} for i in range(3)]


@pytest.fixture
def pick_rows(png):
    """pick_rows(labels): Pick-a-Pic rows with these values of label_0; the preferred image lies where the label says."""

    def make(labels):
        rows = []
        for i, label in enumerate(labels):
            sides = (WINNER, LOSER) if label >= 0.5 else (LOSER, WINNER)
            images = {f"jpg_{k}": png(i, side) for k, side in enumerate(sides)}
            rows.append({"caption": f"prompt {i}", **images, "label_0": label, "label_1": 1 - label})
        return rows

    return make


@pytest.fixture
def parquet(tmp_path):
    """parquet(rows, name): their path in a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(rows, name="pairs.parquet", **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path, **options)
        return path

    return write
