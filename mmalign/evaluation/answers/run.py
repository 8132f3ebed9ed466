"""An evaluation of answers from its configuration."""

from pathlib import Path

from accelerate import PartialState

from mmalign import pipelines
from mmalign.config import EvaluateAnswersConfig
from mmalign.errors import UserError
from mmalign.evaluation.answers.evaluate import Options, evaluate
from mmalign.evaluation.answers.judge import AnswerJudge
from mmalign.evaluation.answers.questions import AskedQuestion, Columns, load_questions
from mmalign.evaluation.answers.report import write_report
from mmalign.evaluation.answers.result import AnswersEvaluation
from mmalign.evaluation.answers.sides import AlignedVlm
from mmalign.evaluation.answers.words import text_table, verdict
from mmalign.evaluation.write import check_folder
from mmalign.plugins import nearest
from mmalign.shapes.exam import exam
from mmalign.shapes.models import PREFIX

METRICS_FILE = "metrics.jsonl"


def run(config: EvaluateAnswersConfig) -> Path:
    """Evaluates as configured, writes the report, prints the table; returns the report's page.

    Raises:
        UserError: the model, what was aligned, the questions or the judge cannot be used.
    """
    questions = questions_of(config)
    check_folder(config.output_dir)
    family = pipelines.configured_vlm(config.vlm)
    family.model.to(PartialState().device)
    sides = AlignedVlm(family, config.adapter_path)
    judge = None if config.judge.pretrained is None else AnswerJudge(config.judge)
    options = Options(
        match=config.match,
        max_new_tokens=config.max_new_tokens,
        batch_size=config.batch_size,
        processor=config.processor,
        frames=config.frames.model_dump(),
        seed=config.seed,
        resamples=config.resamples,
        confidence=config.confidence,
    )
    found = evaluate(sides, questions, config.aligned_to, options, judge)
    metrics = config.adapter_path / METRICS_FILE
    page = write_report(found, config.output_dir, config.model_dump(mode="json"), metrics=metrics if metrics.is_file() else None)
    print(told(found))
    return page


def questions_of(config: EvaluateAnswersConfig) -> list[AskedQuestion]:
    """The questions that the configuration names. Raises UserError where there are none, or a column has no such name."""
    fields = Columns.__dataclass_fields__
    for name, column in config.columns.items():
        if name not in fields:
            raise UserError(f"columns has no name {name!r}; {nearest(name, list(fields))}")
        if isinstance(column, list) != (name == "by"):
            raise UserError(f"columns {name!r} is {column!r}; give {'a list of names' if name == 'by' else 'one name'}")
    source = exam(config.questions, seed=config.seed) if config.questions.startswith(PREFIX) else config.questions
    return load_questions(source, Columns(**config.columns), config.split, config.limit)  # type: ignore[arg-type]


def told(found: AnswersEvaluation) -> str:
    """The verdict and the tables, for a terminal."""
    return f"{verdict(found)}\n\n{text_table(found)}"
