"""What people said in a source, and a scorer's numbers for the same images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmalign.data import Examples, load
from mmalign.errors import UserError
from mmalign.evaluation.agreement.measure import one_pair_each
from mmalign.evaluation.agreement.pairs import Pairs, all_pairs
from mmalign.evaluation.agreement.published import mismatch, recognized
from mmalign.evaluation.agreement.rankings import Ranking, human_scores, sources, usual_sources
from mmalign.evaluation.agreement.result import Judgments


@dataclass(frozen=True)
class Rankings:
    """A source's examples, with what people said of each; ``left_out`` counts rows that say nothing, by reason."""

    examples: Examples
    rankings: list[Ranking]
    reader: str
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Judged:
    """The rankings whose images could all be read, their pairs with a scorer's differences, and how many rankings could not."""

    rankings: list[Ranking]
    pairs: Pairs
    broken: int


def load_rankings(
    source: str, reader: str, columns: Mapping[str, Any], split: str | None, limit: int | None, by: Sequence[str] | None
) -> Rankings:
    """The judgments of a source; ties are kept.

    Args:
        by: columns whose values are the sources of a ranking; None = the usual ones, as far as they are there.

    Raises:
        UserError: the source cannot be read, has no such column, or no ranking of two or more images.
    """
    examples = load(reader, source, split=split, ties="soft", **columns)
    examples = examples[:limit] if limit else examples
    said = sources(examples, usual_sources(examples) if by is None else by)
    rankings = [Ranking(example.prompt, human_scores(example), values) for example, values in zip(examples, said, strict=True)]
    if all(len(ranking.human) < 2 for ranking in rankings):
        raise UserError(f"{examples.source} has no prompt with two or more images, so there is nothing to compare; give rankings or pairs")
    return Rankings(examples, rankings, type(examples.reader).__module__.rpartition(".")[2], dict(examples.dropped))


def judge(found: Rankings, scores: Sequence[tuple[float, ...] | None], higher_is_better: bool) -> Judged:
    """Pairs of the rankings that could be read.

    Args:
        scores: K for each ranking, in the reward's units; None where an image could not be read.

    Raises:
        UserError: no ranking could be read.
    """
    sign = 1 if higher_is_better else -1
    kept = [(ranking, [sign * score for score in own]) for ranking, own in zip(found.rankings, scores, strict=True) if own is not None]
    if not kept:
        raise UserError(f"no row of {found.examples.source} has images that can all be read; check where the images lie")
    rankings, numbers = [ranking for ranking, _ in kept], [own for _, own in kept]
    return Judged(rankings, all_pairs(rankings, numbers), len(scores) - len(kept))


def judgments(found: Rankings, judged: Judged, dataset: str | None, validation: str | None) -> Judgments:
    """What the data is; ``dataset`` is the published test set it is said to be."""
    pairs, ties = len(judged.pairs), int((judged.pairs.human == 0).sum())
    counts = len(judged.rankings), pairs, pairs - ties
    remark = None if dataset is None else mismatch(dataset, *counts)
    return Judgments(
        source=found.examples.source,
        reader=found.reader,
        rankings=len(judged.rankings),
        prompts=len({ranking.prompt for ranking in judged.rankings}),
        pairs=pairs,
        ties=ties,
        one_pair_each=one_pair_each(judged.pairs),
        left_out=dict(Counter(found.left_out) + Counter({"broken image": judged.broken})),
        dataset=None if remark else dataset or recognized(found.reader, *counts),
        remark=remark,
        validation=validation,
    )
