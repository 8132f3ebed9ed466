"""The frames of a clip one after another, wherever they are: a film's file or its content, a picture that moves, or a folder of frames."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from mmalign.data.digest import digest
from mmalign.errors import UserError
from mmalign.images import ImageSource, open_image

File = bytes | Path

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Endings of the frames in a folder."""
FILMS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ogv")
MOVING = (b"\x89PNG", b"GIF8", b"RIFF")
"""How files of pictures that may move begin."""
PILLOW = ("PNG", "GIF", "WEBP", "JPEG", "BMP")
"""What Pillow reads; all else is PyAV's."""
STILL = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
"""Brands of pictures in a container that films use too."""
PAUSE = 0.1
"""Seconds that a frame without a time is shown, as browsers do."""


@dataclass(frozen=True)
class Frame:
    """A frame.

    Attributes:
        time: seconds from the start of the clip; None = it has none, as frames in a folder.
        picture: makes the RGB picture; costs little where it is not called.
    """

    time: float | None
    picture: Callable[[], Image.Image]


@dataclass(frozen=True)
class Measured:
    """What a clip is.

    Attributes:
        frames: how many.
        seconds: from the start to the end; None where frames have no times.
        size: (width, height) in pixels.
        content: a digest of the file, or of the files of the frames.
    """

    frames: int
    seconds: float | None
    size: tuple[int, int]
    content: str


def is_clip(source: ImageSource) -> bool:
    """Whether a source is a film, a picture that moves, or a folder, as far as its first bytes say.

    What cannot be read is none, and neither is a picture in memory.
    """
    if isinstance(source, Image.Image):
        return False
    try:
        if isinstance(source, Path) and (source.is_dir() or source.suffix.lower() in FILMS):
            return True
        head = _head(source)
        if head[:4] in MOVING:
            with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=PILLOW) as image:
                return getattr(image, "n_frames", 1) > 1
    except Exception:  # noqa: BLE001 (decoders raise anything on broken bytes, which whoever opens the picture tells)
        return False
    return (head[4:8] == b"ftyp" and head[8:12] not in STILL) or head[:4] in (b"\x1a\x45\xdf\xa3", b"OggS") or head[8:12] == b"AVI "


def frames_of(source: ImageSource, origin: str = "") -> Generator[Frame, None, None]:
    """All frames of a clip in order, decoded as they are asked for.

    Raises:
        UserError: the clip is missing or broken, or PyAV is not installed; the message names the file or the row.
    """
    if isinstance(source, Image.Image):
        yield Frame(None, partial(open_image, source, origin))
    elif isinstance(source, Path) and source.is_dir():
        for path in inside(source):
            yield Frame(None, partial(open_image, path, origin))
    else:
        with _told(source, origin):
            yield from _moving(source) if _pillow_reads(source) else _decoded(source, origin)


def sampled(source: ImageSource, count: int, origin: str = "") -> list[Image.Image]:
    """The frames in the middle of so many equal parts of a clip, all where it has no more. Raises UserError as ``frames_of`` does."""
    from mmalign.frames import evenly  # has torch, which reading a table needs not

    places = evenly(range(_expected(source, origin)), count)
    found = []
    with closing(frames_of(source, origin)) as frames:
        for number, frame in enumerate(frames):
            if number in places:
                found.append(frame.picture())
            if number >= places[-1]:
                break
    if not found:
        raise _empty(source, origin)
    return found


def measure(source: ImageSource, origin: str = "") -> Measured:
    """What a clip is, after all of its frames were decoded. Raises UserError as ``frames_of`` does."""
    times, size = [], None
    with closing(frames_of(source, origin)) as frames:
        for frame in frames:
            if size is None or frame.time is None:  # a film's frames are decoded already, those of a folder are files that may be broken
                picture = frame.picture()
                size = size or picture.size
            times.append(frame.time)
    if size is None:
        raise _empty(source, origin)
    return Measured(len(times), _seconds(times), size, clip_digest(source))


def check(source: ImageSource, origin: str = "") -> None:
    """Decodes a picture, or all of a clip. Raises UserError where it cannot be read."""
    if is_clip(source):
        measure(source, origin)
    else:
        open_image(source, origin)


def clip_digest(source: ImageSource) -> str:
    """A digest of a clip's content. Raises OSError where it is not there."""
    if isinstance(source, Image.Image):
        return digest(source.size, source.tobytes())
    if isinstance(source, Path) and source.is_dir():
        return digest([path.read_bytes() for path in inside(source)])
    return digest(source if isinstance(source, bytes) else source.read_bytes())


def inside(folder: Path) -> list[Path]:
    """The frames in a folder, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def place_of(source: ImageSource, origin: str) -> str:
    """What messages call a clip."""
    place = str(source) if isinstance(source, Path) else "a clip"
    return f"{place} ({origin})" if origin else place


def _moving(source: File) -> Iterator[Frame]:
    time = 0.0
    with _pillow(source) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            yield Frame(time, partial(open_image, image.copy()))
            time += image.info.get("duration", 0) / 1000 or PAUSE


def _decoded(source: File, origin: str) -> Iterator[Frame]:
    with _film(source, origin) as container:
        start = None
        for frame in container.decode(container.streams.video[0]):
            start = frame.time if start is None else start
            time = None if frame.time is None else frame.time - start
            yield Frame(time, partial(_upright, frame))


def _upright(frame: Any) -> Image.Image:
    return frame.to_image().rotate(frame.rotation, expand=True)


def _expected(source: ImageSource, origin: str) -> int:
    """How many frames a clip says that it has."""
    if isinstance(source, Image.Image):
        return 1
    if isinstance(source, Path) and source.is_dir():
        count = len(inside(source))
    else:
        with _told(source, origin), _pillow(source) if _pillow_reads(source) else _film(source, origin) as opened:
            count = getattr(opened, "n_frames", 1) if isinstance(opened, Image.Image) else _packets(opened)
    if not count:
        raise _empty(source, origin)
    return count


def _packets(container: Any) -> int:
    stream = container.streams.video[0]
    return stream.frames or sum(packet.size > 0 for packet in container.demux(stream))


def _seconds(times: list[float | None]) -> float | None:
    """From the start to the end, where the last frame is shown as long as the others are in the mean."""
    known = [time for time in times if time is not None]
    if not known or len(known) < len(times):
        return None
    return known[-1] + (known[-1] / (len(known) - 1) if len(known) > 1 else 0.0)


@contextmanager
def _told(source: File, origin: str) -> Iterator[None]:
    """Decoders raise anything on broken bytes; what they say becomes a sentence."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the film {place_of(source, origin)} cannot be read ({reason}); replace it, or leave the row out") from error


def _pillow(source: File) -> Image.Image:
    return Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=PILLOW)


def _pillow_reads(source: File) -> bool:
    head = _head(source)
    return (head[:4] in MOVING and head[8:12] != b"AVI ") or head[:2] in (b"\xff\xd8", b"BM")


def _head(source: File) -> bytes:
    """The first bytes of a file."""
    if isinstance(source, bytes):
        return source[:16]
    with source.open("rb") as file:
        return file.read(16)


def _film(source: File, origin: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise UserError(f"the film {place_of(source, origin)} needs PyAV to be read: pip install 'mmalign[video]'") from error
    return av.open(BytesIO(source) if isinstance(source, bytes) else str(source))


def _empty(source: ImageSource, origin: str) -> UserError:
    what = "folder" if isinstance(source, Path) and source.is_dir() else "film"
    return UserError(f"the {what} {place_of(source, origin)} holds no pictures; give a film, or a folder of its frames")
