"""``mmalign data inspect``: what preference data are, how much, and what is wrong with them."""

import argparse
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmalign.cli.arguments import Parser
from mmalign.errors import UserError

ABOUT = """What preference data are: which reader fits them and why, how many rows,
prompts, users, ties and soft labels, how large the images are, what is broken,
and what is there twice. Labels, prompts and numbers are those of all rows;
images are looked at in some rows, and the number is said. Where images are,
clips are understood too: films, and folders of frames. Of preferences among
responses, for vision-language models, everything is of the rows looked at."""

EXAMPLES = """examples:
  mmalign data inspect pairs.parquet
  mmalign data inspect folder --all --sheet sheet.png
  mmalign data inspect rows.jsonl --column prompt=text --json facts.json
  mmalign data inspect yuvalkirstain/pickapic_v2 --stream 1000"""


def run(words: list[str]) -> int:
    """Looks, prints what it saw, and writes what was asked for."""
    arguments = _parser().parse_args(words or ["--help"])
    columns = dict(map(_column, arguments.column))
    from mmalign.cli.quiet import quiet

    quiet()
    from mmalign.data.inspection.kind import holds_responses
    from mmalign.data.sources import open_source

    table = open_source(arguments.source, arguments.split, arguments.stream)
    look, told, draw = (_responses if holds_responses(arguments.reader, table, columns) else _images)()
    found, examples = look(arguments.reader, table, sample=None if arguments.all else arguments.sample, **columns)
    print(told(found, min(shutil.get_terminal_size().columns, 120)))
    if arguments.json:
        found.save(arguments.json)
        print(f"\nfacts       {arguments.json}")
    if arguments.sheet:
        _write_sheet(examples, draw, arguments.sheet, arguments.sheet_rows)
    return 0


def _images() -> tuple[Callable[..., Any], ...]:
    """What looks at preferences among images or clips, tells what was found, and draws some."""
    from mmalign.data.inspection import inspect
    from mmalign.data.inspection.clip_sheet import sheet_of
    from mmalign.data.inspection.text import told

    return inspect, told, sheet_of


def _responses() -> tuple[Callable[..., Any], ...]:
    """The same for preferences among responses."""
    from mmalign.data.inspection import inspect_responses
    from mmalign.data.inspection.response_sheet import response_sheet
    from mmalign.data.inspection.response_text import told_responses

    return inspect_responses, told_responses, response_sheet


def _parser() -> Parser:
    parser = Parser(prog="mmalign data inspect", description=ABOUT, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="file, folder, or name of a data set on the hub")
    parser.add_argument("--reader", default="auto", metavar="NAME", help="reader (`mmalign list datasets` or responses; default: found)")
    parser.add_argument("--column", action="append", default=[], metavar="FIELD=NAME", help="a reader's field, as caption=text")
    parser.add_argument("--split", metavar="NAME", help="split of a data set that has several (default: train)")
    parser.add_argument("--stream", type=_count, metavar="N", help="of a data set on the hub: read N rows, not all of it")
    parser.add_argument("--sample", type=_count, default=1000, metavar="N", help="rows whose images are looked at (default: 1000)")
    parser.add_argument("--all", action="store_true", help="look at the images of all rows")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="PNG to draw: some rows, the preferred image in green")
    parser.add_argument("--sheet-rows", type=_count, default=12, metavar="N", help="rows of the sheet (default: 12)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for all that was found")
    return parser


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word} is no number from 1 up")
    return int(word)


def _column(word: str) -> tuple[str, Any]:
    """FIELD=NAME, where NAME may also be a number, true, false or none."""
    import yaml

    field, equals, value = word.partition("=")
    if not equals or not field:
        raise UserError(f"--column {word} names no field; write it as --column caption=text")
    return field, None if value.lower() == "none" else yaml.safe_load(value)


def _write_sheet(examples: Sequence[Any], draw: Callable[..., Any], path: Path, rows: int) -> None:
    from mmalign.files import whole_file

    count, chosen = min(rows, len(examples)), []
    for number in range(count):
        with suppress(UserError):  # which is told above
            chosen.append(examples[number * len(examples) // count])
    if not chosen:
        raise UserError("no row gives an example, so there is nothing to draw; leave --sheet out")
    sheet = draw(chosen)
    with whole_file(path) as file:
        sheet.save(file, "PNG")
    print(f"sheet       {path}")
