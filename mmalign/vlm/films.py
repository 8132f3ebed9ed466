"""Films as frames: which of them are looked at, decoded by PyAV from a file, or read from pictures.

A film is divided into equal parts, and the frame in the middle of each is taken. Nothing is drawn, so that a film gives the same frames
always. A file is decoded around these moments only.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mmalign.errors import UserError
from mmalign.frames import evenly
from mmalign.images import ImageSource, open_image

FilmSource = Path | tuple[ImageSource, ...]
"""A file, a folder of pictures, or pictures."""

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
RATE = 2.0
"""Frames per second that pictures without a time are taken for, as Qwen-VL does."""
LEAP = 2.0
"""Seconds between two moments from which on the decoder jumps instead of reading on."""


@dataclass(frozen=True)
class Film:
    """Frames of a film.

    Attributes:
        frames: RGB pictures of one size, in order.
        times: seconds from the film's start to each.
        duration: seconds of the whole film.
    """

    frames: tuple[Image.Image, ...]
    times: tuple[float, ...]
    duration: float

    @property
    def metadata(self) -> dict[str, Any]:
        """What processors ask to know of frames that were chosen already, as transformers' ``VideoMetadata``.

        It has no times, so that they are told as numbers of frames of a film with a thousand frames a second.
        """
        count = max(round(self.duration * 1000), len(self.frames))
        places = [min(round(time * 1000), count - 1) for time in self.times]
        size = self.frames[0].size
        told = {"total_num_frames": count, "fps": 1000.0, "frames_indices": places, "duration": self.duration}
        return told | {"width": size[0], "height": size[1]}


def read_film(source: FilmSource, count: int, fps: float | None = None, origin: str = "") -> Film:
    """Frames of a film.

    Args:
        source: a file that FFmpeg reads, a folder of pictures in the order of their names, or pictures in order.
        count: most frames.
        fps: frames per second of the film; None = as many as ``count``. Pictures are taken to be so many a second.
        origin: the row it comes from, for messages.

    Raises:
        UserError: the film is missing, broken or without pictures, tells no duration, or PyAV is not installed.
    """
    where = f" of {origin}" if origin else ""
    if isinstance(source, Path) and not source.is_dir():
        return _decoded(source, count, fps, where)
    pictures = _inside(source, where) if isinstance(source, Path) else source
    if not pictures:
        raise UserError(f"a film{where} has no frames; give pictures, or leave the row out")
    chosen = evenly(range(len(pictures)), count)
    frames, rate = [open_image(pictures[place], origin) for place in chosen], fps or RATE
    return Film(_alike(frames), tuple(place / rate for place in chosen), len(pictures) / rate)


def moments(duration: float, count: int, fps: float | None = None) -> list[float]:
    """The middles of equal parts of a film, seconds: ``fps`` to a second and ``count`` in all at the most.

    >>> moments(4.0, 2)
    [1.0, 3.0]
    >>> moments(2.0, 8, fps=1.0)
    [0.5, 1.5]
    """
    parts = count if fps is None else max(1, min(count, round(duration * fps)))
    return [(part + 0.5) * duration / parts for part in range(parts)]


def _inside(folder: Path, where: str) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not found:
        raise UserError(f"the folder {folder}{where} holds no pictures; give a film, or a folder of its frames")
    return found


def _decoded(path: Path, count: int, fps: float | None, where: str) -> Film:
    try:
        import av
    except ImportError as error:
        raise UserError(f"the film {path}{where} needs PyAV to be read: pip install 'mmalign[video]'") from error
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            start, duration = _extent(container, stream)
            if duration is None:
                raise UserError(f"the film {path}{where} does not tell how long it is; convert it to mp4, or give a folder of its frames")
            shown = list(_shown(container, stream, [start + moment for moment in moments(duration, count, fps)]))
            frames = [frame.to_image().rotate(frame.rotation, expand=True) for frame in shown]
            return Film(_alike(frames), tuple(max(0.0, frame.time - start) for frame in shown), duration)
    except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the film {path}{where} cannot be read ({reason}); replace it, or leave the row out") from error


def _extent(container: Any, stream: Any) -> tuple[float, float | None]:
    """Where a stream begins and how long it is, seconds."""
    start = float((stream.start_time or 0) * stream.time_base)
    if stream.duration:
        return start, float(stream.duration * stream.time_base)
    return start, container.duration / 1e6 if container.duration else None


def _shown(container: Any, stream: Any, times: Iterable[float]) -> Iterator[Any]:
    """The frames that are on the screen at some times, ascending, seconds by the stream's own clock."""
    shown = coming = None
    frames: Iterator[Any] = iter(())
    for time in times:
        if coming is None or time - coming.time > LEAP:
            container.seek(int(time / stream.time_base), stream=stream)  # goes to the last frame before it that needs no other
            frames = container.decode(stream)
            shown, coming = None, next(frames)
        while coming is not None and (shown is None or coming.time <= time):
            shown, coming = coming, next(frames, None)
        yield shown


def _alike(frames: Sequence[Image.Image]) -> tuple[Image.Image, ...]:
    """Frames of the size of the first, which processors ask for."""
    size = frames[0].size
    return tuple(frame if frame.size == size else frame.resize(size, Image.Resampling.BICUBIC) for frame in frames)
