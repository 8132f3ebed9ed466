"""Looking at responses to prompts with pictures: how many, how long, which are equal, what is marked, and what is broken."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from json import dumps
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from mmalign.data.digest import digest
from mmalign.data.inspection.images import chosen_rows
from mmalign.data.responses.load import ResponseExamples, choose
from mmalign.data.responses.schema import ResponseExample
from mmalign.data.sources import Source, open_source
from mmalign.data.tables import Table
from mmalign.errors import UserError
from mmalign.files import write_whole
from mmalign.images import open_image
from mmalign.prefetch import cores, prefetch

Lengths = tuple[int, float, int]
"""Characters: of the shortest, of the middle one, of the longest."""


@dataclass(frozen=True)
class ResponseInspection:
    """What there is to know of preferences among responses. All counts are of the rows that were looked at.

    Attributes:
        source, kind, columns, reader, needs: as in ``Inspection``.
        rows: all there are; ``looked_at`` of them were read and their pictures decoded, and ``broken`` says what was wrong with some.
        prompts: different ones.
        responses, images, films: rows by how many they have.
        chosen, rejected: lengths of the preferred response and of the others; None where there are none.
        longer: rows whose preferred response is longer than every other; ``compared`` rows have others.
        ties: rows that prefer none; ``equal``: with a response twice.
        phrases: rows with marked phrases in all responses; ``negatives``: with pictures in place of their own.
        weights: from the least to the greatest.
        sizes: pictures by (width, height) in pixels, upright.
        duplicates: rows, by origin, with the prompt, the pictures and the responses of a row before, in any order.
    """

    source: str
    kind: str
    columns: tuple[str, ...]
    reader: str
    needs: tuple[str, ...]
    rows: int
    looked_at: int
    broken: list[str]
    prompts: int
    responses: dict[int, int]
    images: dict[int, int]
    films: dict[int, int]
    chosen: Lengths | None
    rejected: Lengths | None
    longer: int
    compared: int
    ties: int
    equal: int
    phrases: int
    negatives: int
    weights: tuple[float, float] | None
    sizes: dict[tuple[int, int], int]
    duplicates: list[tuple[str, str]]

    def save(self, path: Path) -> None:
        """Writes everything as JSON. Raises UserError where the place cannot be written."""
        facts = asdict(self)
        facts["sizes"] = {f"{width}x{height}": count for (width, height), count in self.sizes.items()}
        write_whole(path, dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n")


class Seen(NamedTuple):
    """A row: what is wrong with it, or it with the sizes of its pictures and what tells it from others."""

    complaint: str
    example: ResponseExample | None = None
    sizes: Sequence[tuple[int, int]] = ()
    prompt: str = ""
    content: str = ""


def inspect_responses(
    name: str, source: Source | Table, *, split: str | None = None, stream: int | None = None, sample: int | None = 1000, **given: Any
) -> tuple[ResponseInspection, ResponseExamples]:
    """What there is to know of a source of responses, and its examples.

    Args:
        name: a reader of responses, or "auto".
        source, split, stream, given: as in ``mmalign.data.load``; a table that is open already is taken too.
        sample: how many rows are looked at, runs of neighbors from all over the source; None = all.

    Raises:
        UserError: nothing there, or wrong columns.
    """
    table = source if isinstance(source, Table) else open_source(source, split, stream)
    if not len(table):
        raise UserError(f"{table.name} is empty; give a source with at least one row")
    examples = ResponseExamples(table, choose(name, table, given))
    chosen = chosen_rows(len(examples), sample, table.cheap_start)
    bar = tqdm(chosen, desc="looking at rows", unit="row", delay=1, disable=None, leave=False)
    seen = list(prefetch(_looked, _read(examples, bar), workers=cores(), ahead=2 * cores()))
    found = ResponseInspection(
        source=table.name,
        kind=table.kind,
        columns=tuple(table.columns),
        reader=type(examples.reader).__module__.rpartition(".")[2],
        needs=examples.reader.needs,
        rows=len(examples),
        looked_at=len(seen),
        broken=[row.complaint for row in seen if row.complaint],
        prompts=len({row.prompt for row in seen if row.example is not None}),
        sizes=dict(Counter(chain.from_iterable(row.sizes for row in seen)).most_common()),
        duplicates=list(_duplicates(seen)),
        **_counts([row.example for row in seen if row.example is not None]),
    )
    return found, examples


def _counts(examples: Sequence[ResponseExample]) -> dict[str, Any]:
    compared = [example.responses for example in examples if len(example.responses) > 1]
    weights = [example.weight for example in examples]
    return {
        "responses": _counted(len(example.responses) for example in examples),
        "images": _counted(len(example.images) for example in examples),
        "films": _counted(len(example.videos) for example in examples),
        "chosen": _lengths([len(example.responses[0]) for example in examples]),
        "rejected": _lengths([len(text) for texts in compared for text in texts[1:]]),
        "longer": sum(len(first) > max(map(len, others)) for first, *others in compared),
        "compared": len(compared),
        "ties": sum(example.preference == 0.5 for example in examples),
        "equal": sum(len(set(texts)) < len(texts) for texts in compared),
        "phrases": sum(bool(example.phrases) and all(example.phrases) for example in examples),
        "negatives": sum(bool(example.negatives) for example in examples),
        "weights": (min(weights), max(weights)) if weights else None,
    }


def _read(examples: ResponseExamples, rows: Iterator[int]) -> Iterator[ResponseExample | UserError]:
    for row in rows:
        try:
            yield examples[row]
        except UserError as error:
            yield error


def _looked(example: ResponseExample | UserError) -> Seen:
    if isinstance(example, UserError):
        return Seen(str(example))
    try:
        pictures = [open_image(source, example.origin) for source in (*example.images, *example.negatives)]
    except UserError as error:
        return Seen(str(error))
    said = digest([[turn["role"], list(turn["content"])] for turn in example.turns])
    shown = [digest(picture.size, picture.tobytes()) for picture in pictures]
    content = digest(said, shown, sorted(example.responses), [str(film) for film in example.videos])
    return Seen("", example, [picture.size for picture in pictures[: len(example.images)]], said, content)


def _duplicates(rows: Sequence[Seen]) -> Iterator[tuple[str, str]]:
    first: dict[str, ResponseExample] = {}
    for row in rows:
        if row.example is not None:
            before = first.setdefault(row.content, row.example)
            if before is not row.example:
                yield row.example.origin, before.origin


def _counted(numbers: Iterator[int]) -> dict[int, int]:
    return dict(sorted(Counter(numbers).items()))


def _lengths(numbers: list[int]) -> Lengths | None:
    return (min(numbers), median(numbers), max(numbers)) if numbers else None
