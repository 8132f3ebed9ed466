"""``mmalign export``: a run's result in the forms in which other programs load it."""

import argparse
import sys
from pathlib import Path

from mmalign.cli.arguments import Parser
from mmalign.cli.quiet import quiet

ABOUT = """A run's result in another form.

  kohya      one file under the names of kohya's sd-scripts (of musubi-tuner
             for Wan and Qwen-Image), with alphas; ComfyUI reads it too
  comfyui    one file that ComfyUI reads, and diffusers too; a DoRA, which
             they compute otherwise than it was trained, becomes whole
             differences of weights, a large file
  diffusers  a folder for pipe.load_lora_weights, as the run itself is one
  merged     the whole pipeline with the result in its weights, for
             from_pretrained
  ema        the averages of the newest checkpoint, or of the one given, as
             diffusers loads them"""

EXAMPLES = """examples:
  mmalign export runs/mine --format kohya
  mmalign export runs/mine/checkpoint-500 --format comfyui --out mine.safetensors
  mmalign export runs/mine --format merged --out mine_sdxl --dtype float16"""

FORMS = ("kohya", "comfyui", "diffusers", "merged", "ema")
DTYPES = ("float32", "float16", "bfloat16")


def run(words: list[str]) -> int:
    """Writes the form, and prints where it is."""
    arguments = _parser().parse_args(words or ["--help"])
    quiet(pipelines=True)
    from mmalign.delivery.export import export, read_by

    place = export(arguments.run, arguments.format, arguments.out, arguments.dtype, arguments.pretrained)
    print(place)
    if readers := read_by(place):
        print(f"read by {readers}", file=sys.stderr)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="mmalign export", description=ABOUT, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path, help="output folder of a training run, or one of its checkpoints")
    parser.add_argument("--format", choices=FORMS, required=True, help="what to write")
    parser.add_argument("--out", type=Path, metavar="PLACE", help="file or folder to write (default: in RUN/exports)")
    parser.add_argument("--dtype", choices=DTYPES, help="number format (default: float16 for kohya and comfyui, else unchanged)")
    parser.add_argument("--pretrained", metavar="BASE", help="base, where RUN does not say it or it lies elsewhere now")
    return parser
