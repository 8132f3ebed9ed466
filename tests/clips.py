"""Clips of known shades, made at test time."""

import numpy as np
import pytest
from PIL import Image

SHADES = [0, 30, 60, 90, 120, 150, 180, 210]


def shade(picture):
    return int(np.asarray(picture).mean().round())


def pictures(shades=SHADES, size=(32, 24)):
    return [Image.new("RGB", size, (value,) * 3) for value in shades]


def folder_of(place, shades=SHADES, size=(32, 24)):
    """A folder of frames."""
    place.mkdir(parents=True)
    for index, picture in enumerate(pictures(shades, size)):
        picture.save(place / f"{index:03d}.png")
    return place


def film(place, rate=8, shades=SHADES):
    """A film; the test is left out where PyAV is not installed."""
    av = pytest.importorskip("av")
    with av.open(place, mode="w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 32, 24, "yuv420p", 4_000_000
        for picture in pictures(shades):
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return place
