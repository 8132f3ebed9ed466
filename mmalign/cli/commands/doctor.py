"""``mmalign doctor``: what works on this machine, what will not, and the remedy."""

import shutil
import warnings

from mmalign.cli.arguments import Parser

ABOUT = """What mmalign finds on this machine: versions against the tested ones, GPU and
driver, attention and 8-bit optimizers (each tried by a tiny call), disk space,
and whether there is a token for the hub, which is never shown. Ends with an
error only where mmalign cannot run."""


def run(words: list[str]) -> int:
    """Looks, prints, and returns 1 where mmalign cannot run."""
    parser = Parser(prog="mmalign doctor", description=ABOUT)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(words)
    from mmalign.doctor.machine import first_step
    from mmalign.doctor.report import as_json, examine, runs, told

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of is tried, and told
        found = examine()
    width = min(shutil.get_terminal_size().columns, 120)
    print(as_json(found) if arguments.json else "\n".join(told(found, width)))
    if runs(found) and not arguments.json:
        print(first_step())
    return 0 if runs(found) else 1
