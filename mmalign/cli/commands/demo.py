"""``mmalign demo``: the whole job on the embedded world."""

from pathlib import Path

from mmalign.cli.arguments import Parser

FAMILIES = ("sdxl", "sd3", "sd")
GOALS = ("taste", "oracle")


def run(words: list[str]) -> int:
    """Samples pairs, trains, evaluates and writes the report."""
    parser = Parser(prog="mmalign demo", description="The whole job on the embedded world, without GPU or download.")
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="folder for everything it makes (default: demo)")
    parser.add_argument("--family", choices=FAMILIES, default="sdxl", help="which embedded pipeline (default: sdxl)")
    parser.add_argument("--method", default="diffusion_dpo", metavar="NAME", help="see `mmalign list methods` (default: diffusion_dpo)")
    goal = "what to align to: a user's taste, or showing what the prompt says (sdxl only; default: taste)"
    parser.add_argument("--aligned-to", choices=GOALS, default="taste", help=goal)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of everything random (default: 0)")
    arguments = parser.parse_args(words)

    from mmalign.demo import run as demo

    demo(arguments.out, arguments.family, arguments.method, arguments.seed, arguments.aligned_to)
    return 0
