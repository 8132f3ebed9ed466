"""Frames as one animated PNG: lossless, shown by browsers, and read without PyAV.

Pillow's own writer joins equal frames into one that is shown longer, so that a clip that stands still would lose them; and it rounds times
to milliseconds. Here every frame is whole, and its time a fraction. Format: PNG, third edition (W3C 2025), section 11.3.4.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

from PIL import Image

from mmalign.data.films import frames_of, place_of
from mmalign.errors import UserError
from mmalign.images import ImageSource

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST = 65535
"""Of the two numbers of a frame's time."""


def apng(frames: Sequence[Image.Image], fps: float, level: int = 6) -> bytes:
    """The content of a file; the same bytes for the same frames, by one version of zlib and Pillow.

    Args:
        frames: RGB pictures of one size, in order; one alone gives a plain PNG.
        fps: frames per second.
        level: of the compression, 0 to 9.
    """
    files = [_png(frame, level) for frame in frames]
    if len(files) == 1:
        return files[0]
    header = next(_chunks(files[0]))[1]
    time = Fraction(1 / fps).limit_denominator(LARGEST)
    parts = [SIGNATURE, _chunk(b"IHDR", header), _chunk(b"acTL", struct.pack(">II", len(files), 0))]
    number = 0
    for place, file in enumerate(files):
        control = struct.pack(">I8sIIHHBB", number, header[:8], 0, 0, time.numerator, time.denominator, 0, 0)
        parts.append(_chunk(b"fcTL", control))
        data = b"".join(content for kind, content in _chunks(file) if kind == b"IDAT")
        # the first frame is what a reader of plain PNG shows
        parts.append(_chunk(b"fdAT", struct.pack(">I", number + 1) + data) if place else _chunk(b"IDAT", data))
        number += 2 if place else 1
    return b"".join([*parts, _chunk(b"IEND", b"")])


def with_texts(file: bytes, other: bytes) -> bytes:
    """A PNG with the texts of another one, after its header."""
    texts = b"".join(_chunk(kind, content) for kind, content in _chunks(other) if kind in (b"tEXt", b"zTXt", b"iTXt"))
    end = len(SIGNATURE) + 12 + len(next(_chunks(file))[1])
    return file[:end] + texts + file[end:]


def clip_file(source: ImageSource, origin: str = "", fps: float = 16.0) -> bytes:
    """A clip as the content of one file: as it is, or the frames of a folder as an animated PNG.

    Args:
        fps: of frames that have no times.

    Raises:
        UserError: it cannot be read; the message names the file or the row.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, Path) and not source.is_dir():
        return source.read_bytes()
    frames = [frame.picture() for frame in frames_of(source, origin)]
    if not frames:
        raise UserError(f"the folder {place_of(source, origin)} holds no pictures; give a film, or a folder of its frames")
    if len({frame.size for frame in frames}) > 1:
        raise UserError(f"the frames in {place_of(source, origin)} differ in size; give frames of one size")
    return apng(frames, fps)


def _png(frame: Image.Image, level: int) -> bytes:
    buffer = BytesIO()
    Image.frombytes("RGB", frame.size, frame.convert("RGB").tobytes()).save(buffer, format="PNG", compress_level=level)
    return buffer.getvalue()


def _chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, kind and content."""
    place = len(SIGNATURE)
    while place < len(file):
        size, kind = struct.unpack(">I4s", file[place : place + 8])
        yield kind, file[place + 8 : place + 8 + size]
        place += 12 + size


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
