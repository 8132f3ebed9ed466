"""``mmalign evaluate-reward``: scorers against people, and HPSv2's benchmark of generators."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign evaluate-reward [CONFIG] --rewards NAME ... [--KEY VALUE ...]

Scorers against people's judgments; generators under HPSv2's benchmark.

  CONFIG       YAML file with the keys below, in place of options or before them
  --rewards    names (`mmalign list rewards`), or '{name: ..., its own fields}',
               which `mmalign list rewards NAME` tells

  accuracy
    mmalign evaluate-reward --rewards hpsv2 pickscore --source HPD/test.json \\
      --output-dir runs/hpdv2
  Pick-a-Pic
    mmalign evaluate-reward --rewards pickscore --source pickapic_v1/data \\
      --split test_unique --validation-split validation_unique \\
      --dataset pickapic_v1_test_unique --output-dir runs/pickapic
  benchmark
    mmalign evaluate-reward --rewards hpsv2 --benchmark-images pictures \\
      --benchmark-prompts HPD/benchmark --output-dir runs/benchmark

  Scores are kept in the output folder: a run that was stopped goes on, and with
  other rules for ties nothing is scored again.

`mmalign evaluate-reward --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Evaluates, and prints where the report is."""
    if not words:
        print(USAGE)
        return 2
    config = configuration("evaluate-reward", "EvaluateRewardConfig", words, USAGE)
    quiet()
    from mmalign.evaluation.agreement.run import run as evaluate_reward

    print(evaluate_reward(config))
    return 0
