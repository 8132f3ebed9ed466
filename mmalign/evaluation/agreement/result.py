"""What an evaluation of scorers found, as plain data: table, page and record are views of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmalign.evaluation.agreement.accuracy import Accuracy, SourceAccuracy
from mmalign.evaluation.agreement.benchmark import Benchmark
from mmalign.evaluation.agreement.calibration import Calibration
from mmalign.evaluation.agreement.published import Published


@dataclass(frozen=True)
class Judgments:
    """The data that people judged.

    Attributes:
        source: what messages call it; ``reader`` is how it was read.
        ties: pairs between which people saw no difference.
        one_pair_each: no ranking has more than one pair.
        left_out: how many rows were left out, by reason.
        dataset: the published test set it is, a key of ``published.KNOWN_SETS``; None where it is none.
        remark: why published numbers do not fit, if they do not.
        validation: the source on which thresholds and temperatures were tuned; None where there is none.
    """

    source: str
    reader: str
    rankings: int
    prompts: int
    pairs: int
    ties: int
    one_pair_each: bool
    left_out: Mapping[str, int]
    dataset: str | None = None
    remark: str | None = None
    validation: str | None = None


@dataclass(frozen=True)
class Agreement:
    """One scorer against people.

    Attributes:
        name: its title here; ``reward`` is the plug-in and ``unit`` that of its scores.
        accuracies: the first is among decided pairs, averaged over pairs.
        sources: by source, among decided pairs.
        unscored: pairs that count nowhere, as the scorer gave one of the images no score.
        equal: scored pairs to whose images the scorer gave the same score.
        threshold: differences up to which scores are a tie under half credit; None without a validation source.
        published: what was published for this scorer on this test set, under whatever rule.
        own_weights: where the weights come from, if not from the place they were published at.
    """

    name: str
    reward: str
    unit: str
    accuracies: list[Accuracy]
    sources: list[SourceAccuracy]
    unscored: int
    equal: int
    threshold: float | None = None
    calibration: Calibration | None = None
    published: list[Published] = field(default_factory=list)
    own_weights: str | None = None

    @property
    def main(self) -> Accuracy:
        """The accuracy among decided pairs, averaged over pairs."""
        return self.accuracies[0]


@dataclass(frozen=True)
class Findings:
    """Everything the reports show."""

    judgments: Judgments | None
    agreements: list[Agreement]
    benchmarks: list[Benchmark]
    confidence: float
    seconds: float
