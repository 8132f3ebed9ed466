"""The findings in words and as text."""

from mmalign.evaluation.columns import aligned
from mmalign.evaluation.personal.result import AGAINST, Comparison, Interpolation, PersonalEvaluation
from mmalign.evaluation.statistics import WinRate
from mmalign.evaluation.verdict import FEW, counted, percent, reading, span

_HEAD = ["", "win rate", "interval", "people", "won / even / lost", "prompts"]


def verdict(found: PersonalEvaluation) -> str:
    """One sentence: how pictures for people did over the base, and over a model aligned to everybody."""
    main, level = found.main, percent(found.confidence).replace(".0", "")
    who = f"{main.group} people" + (f" of whom it knows {counted(main.shots, 'choice')}" if main.shots else "")
    rates = [f"{percent(row.result.win_rate)} over {AGAINST[row.against]} ({span(row.result)})" for row in _headline(found)]
    word = reading(main.result.low, main.result.high)
    how = {
        "better": f"The model draws better for {who}",
        "no measurable difference": f"No measurable difference for {who}",
        "worse": f"The model draws worse for {who}",
    }[word]
    tail = f"{level} intervals over people and prompts, {main.result.n} people, {counted(len(found.prompts), 'prompt')}"
    return f"{how}: as they judge, its pictures win {' and '.join(rates)}; {tail}."


def remarks(found: PersonalEvaluation) -> list[str]:
    """What a reader must know beside the verdict."""
    main = found.main
    said = [
        f"Each person's own embedding against those of random other people: {percent(row.result.win_rate)} ({span(row.result)})."
        for row in [found.find(main.group, "others")]
        if row is not None
    ]
    said += [_shots(found)] if found.by_shots("base") else []
    said += [interpolation_sentence(found.interpolations[0])] if found.interpolations else []
    said.append(control_sentence(found))
    for row in found.witnesses:
        if row.group == main.group:
            word = reading(row.result.low, row.result.high)
            said.append(
                f"Under {row.reward}, which nobody's taste decides, over {AGAINST[row.against]}: {word} ({percent(row.result.win_rate)})."
            )
    few = [name for name, number in (("people", main.result.n), ("prompts", len(found.prompts))) if number < FEW]
    if few:
        said.append(f"With so few {' and '.join(few)} the intervals are wide and rough.")
    return said


def control_sentence(found: PersonalEvaluation) -> str:
    """Whether base against base came out even, as it must."""
    rate = f"Base against base with other seeds gives {percent(found.control.win_rate)} ({span(found.control)})"
    if reading(found.control.low, found.control.high) == "no measurable difference":
        return f"{rate}: the interval contains 50%, as it must."
    return f"{rate}: the interval misses 50%; repeat with another seed before trusting the other numbers."


def interpolation_sentence(way: Interpolation) -> str:
    """Whether a mixture moves from one person's taste to the other's step by step."""
    ends = f"{way.first[0].value:+.2f} to {way.first[-1].value:+.2f}, {way.second[0].value:+.2f} to {way.second[-1].value:+.2f}"
    return f"On the way from one person's embedding to another's the mean scores of the two go {ends}: {steps_sentence(way)}."


def steps_sentence(way: Interpolation) -> str:
    """What the steps of both scores do, and what of it can be chance.

    >>> from mmalign.evaluation.statistics import Interval
    >>> up, down, flat = Interval(0.2, 0.1, 0.3), Interval(-0.2, -0.3, -0.1), Interval(-0.01, -0.1, 0.1)
    >>> steps_sentence(Interpolation(None, (0.0, 0.5, 1.0), (), (), (down, down), (up, flat)))
    'both scores move in their direction at 3 of 4 steps, and none goes the other way by more than chance'
    """
    right, count = sum(move.value > 0 for move in way.moves), len(way.moves)
    if way.monotone:
        return "both scores move in their direction at every step"
    other = "none goes" if not way.turned else "one goes" if way.turned == 1 else f"{way.turned} go"
    return f"both scores move in their direction at {right} of {count} steps, and {other} the other way by more than chance"


def text_table(found: PersonalEvaluation) -> str:
    """Aligned columns, a row per comparison, then the control and the rewards that no taste decides."""
    whole = len(found.prompts)
    rows = [_row(row.name, row.result, row.prompts) for row in found.comparisons]
    rows.append(_row("control: base over base", found.control, whole))
    rows += [_row(f"{row.reward}, {row.group} people: over {AGAINST[row.against]}", row.result, whole) for row in found.witnesses]
    return "\n".join(aligned([_HEAD, *rows]))


def _row(name: str, result: WinRate, prompts: int) -> list[str]:
    people = f"{result.wins} / {result.ties} / {result.losses}"
    return [name, percent(result.win_rate), span(result), str(result.n), people, str(prompts)]


def _headline(found: PersonalEvaluation) -> list[Comparison]:
    rows = [found.find(found.main.group, against) for against in ("base", "population")]
    return [row for row in rows if row is not None]


def _shots(found: PersonalEvaluation) -> str:
    rows = found.by_shots("base")
    rates = ", ".join(f"{row.shots}: {percent(row.result.win_rate)}" for row in rows)
    return f"Over the base, by the number of choices that a person has shown, on {counted(rows[0].prompts, 'prompt')}: {rates}."
