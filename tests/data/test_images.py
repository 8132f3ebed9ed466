"""The size of an image from its header is that of the image when it is opened."""

from io import BytesIO

import pytest
from PIL import Image

from mmalign.errors import UserError
from mmalign.images import open_image, upright_size


def stored(kind, orientation, size=(30, 20)):
    """A picture of this size (width, height) as a file's content, held in one of the eight ways that EXIF knows."""
    exif, buffer = Image.Exif(), BytesIO()
    exif[0x0112] = orientation
    Image.new("RGB", size, "red").save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_opened_image(kind, orientation):
    content = stored(kind, orientation)
    opened = open_image(content)
    assert upright_size(content) == (opened.height, opened.width)
    assert upright_size(content) == ((20, 30) if orientation < 5 else (30, 20))


def test_files_and_images_in_memory_have_sizes_too(tmp_path):
    (tmp_path / "a.jpg").write_bytes(stored("JPEG", 6))
    assert upright_size(tmp_path / "a.jpg") == (30, 20)
    assert upright_size(Image.new("L", (3, 5))) == (5, 3)


def test_the_pixels_are_not_read():
    assert upright_size(stored("PNG", 1, (200, 200))[:300]) == (200, 200)


def test_a_broken_header_names_the_row(tmp_path):
    with pytest.raises(
        UserError, match=r"^an image of rows.jsonl, line 3 cannot be read as an image \(unknown format\); replace it, or leave"
    ):
        upright_size(b"no image", "rows.jsonl, line 3")
    with pytest.raises(UserError, match="there is no such file"):
        upright_size(tmp_path / "gone.png")
