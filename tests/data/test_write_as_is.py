"""Images that every reader sees alike are written as they are; others become PNG of what is seen."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmalign.data.schema import Example
from mmalign.data.write import pickapic_table, ranked_table
from mmalign.errors import UserError

PICTURE = Image.fromarray(np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3))


def content(image, form, **options):
    buffer = BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_plain_pictures_keep_their_bytes(form):
    source = content(PICTURE, form)
    (row,) = ranked_table([Example("x", (source, PICTURE), (1.0, 0.0))]).to_pylist()
    assert row["images"][0] == source
    assert Image.open(BytesIO(row["images"][1])).format == "PNG"
    (pair,) = pickapic_table([Example("x", (source, source))]).to_pylist()
    assert pair["jpg_0"] == pair["jpg_1"] == source


def turned_by_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    return content(PICTURE, "JPEG", exif=exif)


def test_a_picture_that_moves_keeps_its_frames():
    source = content(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(180)])
    (row,) = ranked_table([Example("x", (source,), (1.0,))]).to_pylist()
    assert row["images"] == [source]


@pytest.mark.parametrize(
    "source",
    [
        content(PICTURE.convert("L"), "PNG"),
        content(PICTURE.convert("RGBA"), "PNG"),
        content(PICTURE, "PNG", transparency=(0, 1, 2)),
        content(PICTURE, "BMP"),
        turned_by_exif(),
    ],
    ids=["gray", "transparent", "a transparent color", "of a rare format", "turned"],
)
def test_others_become_what_is_seen(source):
    (row,) = ranked_table([Example("x", (source,), (1.0,))]).to_pylist()
    assert row["images"][0] != source
    with Image.open(BytesIO(row["images"][0])) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")


def test_a_truncated_picture_is_told_though_it_would_be_kept_as_it_is():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(UserError, match=r"an image of row 3 cannot be read"):
        ranked_table([Example("x", (content(noise, "PNG")[:6000],), (1.0,), origin="row 3")])
