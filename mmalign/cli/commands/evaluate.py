"""``mmalign evaluate``: compare a base with its aligned self, image generators by their pictures, chat models by their answers."""

from collections.abc import Sequence

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign evaluate [CONFIG] [--KEY VALUE ...]

  CONFIG       YAML file; may be left out where the options say everything
  --KEY VALUE  change a key, for instance --pretrained shapes/sdxl --adapter-path runs/x --rewards oracle --aligned-to oracle

A vision-language model has its own keys, where the file has a section `vlm` or the options begin with one of it:

  mmalign evaluate --vlm.pretrained shapes/vlm --adapter-path runs/x --questions questions.jsonl --output-dir runs/x/answers

`mmalign evaluate --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Evaluates, and prints where the report is."""
    if not words:
        print(USAGE)
        return 2
    answers = about_answers(words)
    config = configuration("evaluate", "EvaluateAnswersConfig" if answers else "EvaluateConfig", words, USAGE)
    quiet(pipelines=not answers)
    if answers:
        from mmalign.evaluation.answers.run import run as evaluate_answers

        print(evaluate_answers(config))
    else:
        from mmalign.evaluation.run import run as evaluate

        print(evaluate(config))
    return 0


def about_answers(words: Sequence[str]) -> bool:
    """Whether a vision-language model is to be evaluated: the file or the options have the section ``vlm``."""
    if any(word.startswith("--vlm") for word in words):
        return True
    if words[0].startswith("-"):
        return False
    from mmalign.config import yaml_file

    return "vlm" in yaml_file.read(words[0])
