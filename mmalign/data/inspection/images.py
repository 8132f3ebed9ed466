"""The images or clips of some rows, or of all: sizes, lengths, what is broken, and rows that say the same twice."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tqdm.auto import tqdm

from mmalign.data.digest import digest
from mmalign.data.examples import Examples
from mmalign.data.films import Measured, is_clip, measure
from mmalign.data.inspection.record import Clips, Images
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.images import open_image
from mmalign.prefetch import cores, prefetch

RUN = 50
"""Neighbors that are looked at together, since rows in order cost less."""


class Seen(NamedTuple):
    """A row that was looked at: what is wrong with it, or the sizes and digests of its images in order of preference; and its clips."""

    origin: str
    prompt: str
    complaint: str
    sizes: list[tuple[int, int]]
    content: list[str]
    clips: list[Measured]


def look_at(examples: Examples, sample: int | None) -> Images:
    """Decodes the images of ``sample`` rows, or of all where it is None; a bar is shown on a terminal."""
    chosen = chosen_rows(len(examples), sample, examples.cheap_start)
    bar = tqdm(_read(examples, chosen), desc="looking at images", unit="row", total=len(chosen), delay=1, disable=None, leave=False)
    seen = list(prefetch(_look, bar, workers=cores(), ahead=2 * cores()))
    whole = [row for row in seen if not row.complaint]
    sizes = Counter(size for row in whole for size in row.sizes)
    return Images(
        rows=len(seen),
        images=sum(sizes.values()),
        candidates=dict(sorted(Counter(len(row.sizes) for row in whole).items())),
        sizes=dict(sizes.most_common()),
        uneven=sum(len(set(row.sizes)) > 1 for row in whole),
        same=sum(len(set(row.content)) < len(row.content) for row in whole),
        broken=[row.complaint for row in seen if row.complaint],
        duplicates=list(_duplicates(whole)),
        clips=_clips(whole),
    )


def _clips(rows: list[Seen]) -> Clips | None:
    """What the clips of rows say; None where there are none."""
    found = [clip for row in rows for clip in row.clips]
    if not found:
        return None
    seconds = [clip.seconds for clip in found if clip.seconds is not None]
    return Clips(
        frames=dict(sorted(Counter(clip.frames for clip in found).items())),
        seconds=(min(seconds), max(seconds)) if seconds else None,
        uneven=sum(len({clip.frames for clip in row.clips}) > 1 for row in rows),
    )


def chosen_rows(count: int, sample: int | None, cheap_start: Callable[[int], int]) -> list[int]:
    """Rows in order: runs of neighbors at even distances, each from a place where reading begins at little cost.

    >>> rows = chosen_rows(1000, 100, lambda row: row)
    >>> rows[0], rows[49], rows[50], rows[-1]
    (0, 49, 500, 549)
    """
    if sample is None or sample >= count:
        return list(range(count))
    runs = max(1, sample // RUN)
    starts = (min(cheap_start(count * run // runs), count - 1) for run in range(runs))
    length = min(RUN, sample)
    return sorted({row for start in starts for row in range(start, min(count, start + length))})


def _read(examples: Examples, chosen: list[int]) -> Iterator[Example | UserError]:
    for index in chosen:
        try:
            yield examples[index]
        except UserError as error:
            yield error


def _look(example: Example | UserError) -> Seen:
    if isinstance(example, UserError):
        return Seen("", "", str(example), [], [], [])
    seen = Seen(example.origin, example.prompt, "", [], [], [])
    try:
        for source in example.images:
            if is_clip(source):
                clip = measure(source, example.origin)
                seen.clips.append(clip)
                size, content = clip.size, clip.content
            else:
                image = open_image(source, example.origin)
                size, content = image.size, digest(image.size, image.tobytes())
            seen.sizes.append(size)
            seen.content.append(content)
    except UserError as error:
        return Seen(example.origin, example.prompt, str(error), [], [], [])
    return seen


def _duplicates(rows: list[Seen]) -> Iterator[tuple[str, str, bool]]:
    first: dict[tuple[str, tuple[str, ...]], Seen] = {}
    for row in rows:
        before = first.setdefault((row.prompt, tuple(sorted(row.content))), row)
        if before is not row:
            yield row.origin, before.origin, row.content != before.content
