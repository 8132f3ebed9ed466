"""``mmalign generate``: pictures of prompts by models, as Parquet shards."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign generate [CONFIG] --models MODEL ... [--KEY VALUE ...]

Pictures, or clips, of prompts by models, every prompt by every model and seed.

  CONFIG       YAML file with the keys below, in place of options or before them
  --models     diffusers folders, hub ids, shapes/NAME for an embedded one, or
               '{pretrained: ..., adapter_path: ..., its own fields}'
  --out        folder of Parquet files; a run that was stopped goes on where it
               stood when the same command is given again

  mmalign generate --models shapes/sdxl shapes/sd --seeds-per-prompt 2 \\
    --num-inference-steps 12 --guidance-scale 2 --out pictures
  mmalign generate --prompts prompts.txt --out pictures --models BASE \\
    "{pretrained: BASE, adapter_path: runs/x, label: aligned, dtype: bfloat16}"
  mmalign generate --prompts prompts.txt --models WAN --frames 81 --fps 16 \
    --width 832 --height 480 --batch-size 1 --image-format mp4 --out clips
  accelerate launch -m mmalign generate generate.yaml

`mmalign generate --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Draws, and prints what there is and where."""
    if not words:
        print(USAGE)
        return 2
    config = configuration("generate", "GenerateConfig", words, USAGE)
    quiet(pipelines=True)
    from mmalign.factory.generate import run as generate

    if shown := generate(config):
        print(shown)
    return 0
