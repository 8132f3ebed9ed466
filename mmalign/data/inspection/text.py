"""What was found, in lines for a terminal."""

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap

from mmalign.data.inspection.record import Clips, Columns, Images, Inspection, Labels, Range

NAMED = 3
"""Broken rows, duplicates and sizes that are named one by one."""
LABEL = 12


def told(found: Inspection, width: int = 80) -> str:
    """All facts, each with its name before it, in lines of the width of a terminal."""
    return laid_out(found.source, found.kind, _facts(found), width)


def laid_out(source: str, kind: str, facts: Iterable[tuple[str, str]], width: int) -> str:
    """A source, what it is stored as, and facts with their names, in lines; the source is not named again in the facts."""
    lines = [*wrap(source, width), *_wrapped("", kind, width)]
    for name, text in facts:
        lines += _wrapped(name, text.replace(f"{source}, ", "").replace(f"{source}/", ""), width)
    return "\n".join(lines)


def _wrapped(name: str, text: str, width: int) -> list[str]:
    indent = " " * LABEL
    lines = wrap(text, max(30, width), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return [name.ljust(LABEL) + lines[0][LABEL:], *lines[1:]]


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    also = f"; {', '.join(found.also)} would fit too" if found.also else ""
    yield "reader", f"{found.reader}, as there are the columns {', '.join(found.needs)}{also}"
    one = "an image" if found.images.clips is None else "a clip"
    yield "rows", f"{found.rows:,}, of which {found.labels.labeled:,} prefer {one}{_others(found.labels)}"
    yield "labels", _labels(found.labels)
    yield from _told(found.told)
    yield from _images(found.images, found.labels.labeled + found.labels.ties)


def _others(labels: Labels) -> str:
    reasons = labels.left_out | ({"tie": labels.ties} if labels.ties else {})
    return " (" + ", ".join(f"{reason}: {count:,}" for reason, count in reasons.items()) + ")" if reasons else ""


def _labels(labels: Labels) -> str:
    first = "" if labels.first is None else f"the preferred image is stored first in {share(labels.first, labels.labeled)} of these; "
    soft = f"soft: {labels.soft:,}, of {number_range(labels.soft_range)}" if labels.soft_range else "none is soft"
    kept = labels.labeled + labels.ties, labels.labeled + 2 * labels.ties
    ties = f"; ties: soft makes {kept[0]:,} examples, ties: half {kept[1]:,}" if labels.ties else ""
    return first + soft + ties


def _told(told: Columns) -> Iterator[tuple[str, str]]:
    rows = f"one has {rows_of(told.median)} (median), at most {told.most:,}" if told.most > 1 else "each in one row"
    yield "prompts", f"{told.prompts:,} different, {rows}"
    yield "users", "not told" if told.users is None else f"{told.users:,}"
    yield "weights", "none; every row counts 1" if told.weights is None else number_range(told.weights)
    yield "scores", "none" if told.scores is None else number_range(told.scores)


def _images(images: Images, of: int) -> Iterator[tuple[str, str]]:
    looked = "all rows" if images.rows == of else f"{images.rows:,} of {of:,} rows"
    one = "image" if images.clips is None else "clip"
    same = f"; one {one} twice in {rows_of(images.same)}" if images.same else ""
    yield f"{one}s", f"{images.images:,} in {looked}{_candidates(images.candidates)}{same}"
    if images.sizes:
        yield "sizes", sizes_of(images.sizes) + (f"; of different sizes in {rows_of(images.uneven)}" if images.uneven else "")
        ratios = [width / height for width, height in images.sizes]
        yield "aspect", f"width / height {number_range((min(ratios), max(ratios)))}"
    if images.clips is not None:
        yield from _clips(images.clips)
    remedy = "; on_broken: skip leaves them out" if images.images else "; paths start from the folder of the data file"
    yield "broken", listed([text.rpartition("; ")[0] for text in images.broken]) + remedy if images.broken else "none"
    twice = [f"{row} repeats {before}" + (f", preferring another {one}" if other else "") for row, before, other in images.duplicates]
    yield "duplicates", listed(twice) if twice else "none"


def _clips(clips: Clips) -> Iterator[tuple[str, str]]:
    uneven = f"; of different lengths in {rows_of(clips.uneven)}" if clips.uneven else ""
    most = f"; data.frames can be {min(clips.frames)} at most, or fewer at a data.fps below the clips' own"
    yield "frames", f"{number_range((min(clips.frames), max(clips.frames)))} a clip{uneven}{most}"
    yield "seconds", "not told, as frames in folders have no times" if clips.seconds is None else number_range(clips.seconds)


def _candidates(candidates: Mapping[int, int]) -> str:
    if len(candidates) == 1:
        return f", {next(iter(candidates))} a row"
    return "".join(f", {rows_of(count)} of {images}" for images, count in candidates.items())


def sizes_of(sizes: Mapping[tuple[int, int], int]) -> str:
    """Sizes with their shares, the commonest first."""
    total, named = sum(sizes.values()), list(sizes.items())[:NAMED]
    rest = len(sizes) - len(named)
    said = ", ".join(f"{width}x{height} {share(count, total)}" for (width, height), count in named)
    return said + (f", and {rest:,} more" if rest else "")


def listed(sentences: list[str]) -> str:
    """How many rows, and what is said of the first of them."""
    rest = len(sentences) - NAMED
    return f"{rows_of(len(sentences))}: " + "; ".join(sentences[:NAMED]) + (f"; and {rest:,} more" if rest > 0 else "")


def rows_of(count: float) -> str:
    """So many rows, in words."""
    return f"{count:,g} row{'' if count == 1 else 's'}"


def number_range(ends: Range | None) -> str:
    """From the least to the greatest, or the one number that there is."""
    low, high = ends or (0.0, 0.0)
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def share(count: int, total: int) -> str:
    """A part of a total in percent."""
    return f"{count / total:.1%}" if total else "none"
