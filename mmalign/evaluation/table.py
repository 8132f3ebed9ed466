"""The result as a plain text table for terminals and as Markdown for the model card."""

from mmalign.evaluation.columns import aligned
from mmalign.evaluation.result import Evaluation
from mmalign.evaluation.statistics import WinRate
from mmalign.evaluation.verdict import percent, share_name, span, verdict

_HEAD = ["reward", "win rate", "interval", "prompts", "base mean", "aligned mean"]


def text_table(evaluation: Evaluation) -> str:
    """Aligned columns, one row per reward, then the control."""
    return "\n".join([*aligned([_HEAD, *_rows(evaluation)]), *_notes(evaluation)])


def summary_markdown(evaluation: Evaluation) -> str:
    """The verdict and the table for a model card."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [_HEAD, *_rows(evaluation)]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    lines.insert(1, "|---|" + "---:|" * (len(_HEAD) - 1))
    notes = [f"- {line}" for line in _notes(evaluation)]
    return "\n".join([verdict(evaluation), "", *lines, *([""] if notes else []), *notes]) + "\n"


def _notes(evaluation: Evaluation) -> list[str]:
    return [*([] if evaluation.clips is None else [evaluation.clips.told]), *_shares(evaluation)]


def _rows(evaluation: Evaluation) -> list[list[str]]:
    marks = {True: "made the labels", False: "not used for labels"}
    rows = [_row(f"{row.name} ({marks[row.used_for_labels]})", row.result) for row in evaluation.comparisons]
    return [*rows, _row("control: base against base", evaluation.control)]


def _row(name: str, result: WinRate) -> list[str]:
    means = [f"{result.base_mean:.4g}", f"{result.aligned_mean:.4g}"]
    return [name, percent(result.win_rate), span(result), str(result.n), *means]


def _shares(evaluation: Evaluation) -> list[str]:
    return [
        f"images with {share_name(share)}: {percent(share.base.value)} before ({span(share.base)}), "
        f"{percent(share.aligned.value)} after ({span(share.aligned)})"
        for share in evaluation.shares
    ]
