"""What was found of responses, in lines for a terminal."""

from collections.abc import Iterator, Mapping

from mmalign.data.inspection.responses import Lengths, ResponseInspection
from mmalign.data.inspection.text import laid_out, listed, number_range, rows_of, share, sizes_of


def told_responses(found: ResponseInspection, width: int = 80) -> str:
    """All facts, each with its name before it, in lines of the width of a terminal."""
    return laid_out(found.source, found.kind, _facts(found), width)


def _facts(found: ResponseInspection) -> Iterator[tuple[str, str]]:
    whole = found.looked_at - len(found.broken)
    yield "reader", f"{found.reader}, of responses, as there are the columns {', '.join(found.needs)}"
    yield "rows", f"{found.rows:,}" + ("" if found.looked_at == found.rows else f", of which {found.looked_at:,} were looked at")
    yield "prompts", f"{found.prompts:,} different"
    yield "responses", _each(found.responses, "a row") + (f"; equal ones in {rows_of(found.equal)}" if found.equal else "")
    yield (
        "characters",
        _characters("preferred", found.chosen)
        + (
            f"; {_characters('others', found.rejected)}; the preferred one is the longest in {share(found.longer, found.compared)}"
            if found.rejected
            else ""
        ),
    )
    yield "ties", rows_of(found.ties) if found.ties else "none"
    yield "phrases", f"marked in {rows_of(found.phrases)} of {whole:,}" if found.phrases else "none is marked"
    yield "weights", "every row counts 1" if found.weights in (None, (1.0, 1.0)) else number_range(found.weights)
    yield "images", _each(found.images, "a row") + (f"; others in their place in {rows_of(found.negatives)}" if found.negatives else "")
    if set(found.films) - {0}:
        yield "films", _each(found.films, "a row")
    if found.sizes:
        yield "sizes", sizes_of(found.sizes)
        yield "aspect", "width / height " + number_range(_ends([width / height for width, height in found.sizes]))
    yield "broken", listed([text.rpartition("; ")[0] or text for text in found.broken]) if found.broken else "none"
    yield "duplicates", listed([f"{row} repeats {before}" for row, before in found.duplicates]) if found.duplicates else "none"


def _characters(name: str, lengths: Lengths | None) -> str:
    if lengths is None:
        return f"{name}: none"
    return f"{name}: {lengths[0]:,} to {lengths[2]:,}, median {lengths[1]:,g}"


def _each(counts: Mapping[int, int], each: str) -> str:
    if len(counts) == 1:
        return f"{next(iter(counts))} {each}"
    return ", ".join(f"{count} in {rows_of(rows)}" for count, rows in counts.items()) or "none"


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)
