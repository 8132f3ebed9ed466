"""Accuracies as others published them, each with the test set, the rule for ties and the place it was read in.

``policy`` and ``mean`` are those of the evaluation code that its authors published beside a number; None = there is none for that test
set, and the number may only be set beside others with that doubt. A number that a later table repeats is listed once, where it was
first; the authors of a table may have measured all of its numbers in their own way. The caption of ImageReward's table 3 says that its
scores are averaged per prompt, while the test.py beside it averages over pairs, which is what stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmalign.evaluation.agreement.accuracy import Mean, Policy


@dataclass(frozen=True)
class KnownSet:
    """A published test set: how often everything occurs in it, and which readers read it.

    ``told`` says that its name has to be told, as the counts do not tell it from a sister.
    """

    title: str
    readers: tuple[str, ...]
    rankings: int | None = None
    pairs: int | None = None
    decided: int | None = None
    told: bool = False


KNOWN_SETS = {
    "hpdv2_test": KnownSet("HPDv2 test", ("hpdv2",), 400, 15_300, 15_300),
    "image_reward_test": KnownSet("ImageReward test", ("image_reward", "image_reward_db"), 466, 7230, 6399),
    "pickapic_v1_test_unique": KnownSet("Pick-a-Pic v1 test_unique", ("pickapic",), 500, 500, told=True),
    "pickapic_v2_test_unique": KnownSet("Pick-a-Pic v2 test_unique", ("pickapic",), 500, 500, 424, told=True),
    "hpdv3_test": KnownSet("HPDv3 test", ("hpdv3",), told=True),
}
"""HPDv2: 300 prompts with 9 images and 100 with 10, which gives the 153 000 annotations of 10 people. Counted in ImageReward's
test.json: 466 rankings, 7230 pairs, 831 ties. The 424 of Pick-a-Pic v2 follow from the denominators of imscore's shares."""


@dataclass(frozen=True)
class Published:
    """A published accuracy.

    Attributes:
        accuracy: share of pairs, 0 to 1.
        reward: the plug-in here that is this scorer, where there is one; ``fields`` are those of its fields that tell versions apart.
    """

    dataset: str
    scorer: str
    accuracy: float
    source: str
    policy: Policy | None = None
    mean: Mean | None = None
    reward: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def verified(self) -> bool:
        """Whether the rule for ties was read in the code that made the number."""
        return self.policy is not None and self.mean is not None

    def same_rule(self, policy: Policy, mean: Mean, one_pair_each: bool) -> bool:
        """Whether the number was made under a rule; with one pair in every ranking both means are the same."""
        return self.policy == policy and (self.mean == mean or (one_pair_each and self.mean is not None))


_PLUGINS: dict[str, tuple[str, dict[str, str]]] = {
    "Aesthetic Score Predictor": ("aesthetic", {"pretrained": "sac+logos+ava1-l14-linearMSE"}),
    "CLIP-H": ("clip_score", {"pretrained": "ViT-H-14:laion2b_s32b_b79k", "form": "cosine"}),
    "CLIP-L": ("clip_score", {"pretrained": "ViT-L-14:openai", "form": "cosine"}),
    "HPS v2": ("hpsv2", {"version": "2.0"}),
    "HPS v2.1": ("hpsv2", {"version": "2.1"}),
    "HPSv3": ("hpsv3", {}),
    "ImageReward": ("image_reward", {}),
    "MPS": ("mps", {}),
    "PickScore": ("pickscore", {}),
}

_HPSV2 = "README of tgxs002/HPSv2"
_HPSV3 = "README of hpsv3 1.0.0"
_IMAGE_REWARD = "ImageReward, arXiv 2304.05977, table 3"
_IMSCORE = "bench.md of RE-N-Y/imscore"
_MPS = "README of Kwai-Kolors/MPS"
_PICKSCORE = "PickScore, arXiv 2305.01569"

_TABLES: list[tuple[str, str, Policy | None, Mean | None, dict[str, float]]] = [
    (
        "hpdv2_test", _HPSV2, "never_wrong", "rankings",
        {"HPS v2.1": 84.1, "HPS v2": 83.3, "PickScore": 79.8, "Single human": 78.1, "HPS": 77.6,
         "Aesthetic Score Predictor": 76.8, "ImageReward": 74.0},
    ),
    (
        "image_reward_test", _HPSV2, "decided", "rankings",
        {"HPS v2.1": 66.8, "HPS v2": 65.7, "Single human": 65.3, "PickScore": 62.9, "HPS": 61.2},
    ),
    (
        "image_reward_test", _IMAGE_REWARD, "decided", "pairs",
        {"ImageReward": 65.14, "BLIP score": 57.76, "Aesthetic Score Predictor": 57.35, "CLIP-L": 54.82},
    ),
    (
        "pickapic_v1_test_unique", _PICKSCORE, "half_credit", "pairs",
        {"PickScore": 70.5, "Expert human": 68.0, "HPS": 66.7, "ImageReward": 61.1, "CLIP-H": 60.8, "Aesthetic Score Predictor": 56.8},
    ),
    (
        "hpdv2_test", _MPS, "never_wrong", "rankings",
        {"MPS": 83.5, "HPS": 73.1, "Aesthetic Score Predictor": 72.6, "CLIP score": 71.2, "ImageReward": 70.6},
    ),
    ("image_reward_test", _MPS, None, None, {"MPS": 67.5, "CLIP score": 54.3}),
    (
        "hpdv2_test", _IMSCORE, "decided", "pairs",
        {"MPS": 83.8562, "HPS v2.1": 83.3464, "PickScore": 79.2157, "ImageReward": 74.0131, "Aesthetic Score Predictor": 73.6013,
         "CLIP-L": 62.6078},
    ),
    (
        "image_reward_test", _IMSCORE, "decided", "pairs",
        {"MPS": 67.7762, "HPS v2.1": 67.4793, "PickScore": 66.7448, "ImageReward": 65.7915, "CLIP-L": 57.1652,
         "Aesthetic Score Predictor": 56.6807},
    ),
    (
        "pickapic_v2_test_unique", _IMSCORE, "decided", "pairs",
        {"PickScore": 80.1887, "HPS v2.1": 69.3396, "MPS": 65.0943, "ImageReward": 60.8491, "CLIP-L": 60.6132,
         "Aesthetic Score Predictor": 55.1887},
    ),
    ("hpdv2_test", _HPSV3, None, None, {"HPSv3": 85.4, "CLIP-H": 65.1}),
    ("image_reward_test", _HPSV3, "decided", "pairs", {"HPSv3": 66.8, "PickScore": 61.6, "CLIP-H": 57.1}),
    ("pickapic_v1_test_unique", _HPSV3, None, None, {"HPSv3": 72.8, "HPS v2": 63.8, "MPS": 63.1}),
    (
        "hpdv3_test", _HPSV3, "decided", "pairs",
        {"HPSv3": 76.9, "PickScore": 65.6, "HPS v2": 65.3, "MPS": 64.3, "HPS": 63.8, "Aesthetic Score Predictor": 59.9,
         "ImageReward": 58.6, "CLIP-H": 48.6},
    ),
]  # fmt: skip

PUBLISHED = tuple(
    Published(dataset, scorer, round(percent / 100, 6), source, policy, mean, *_PLUGINS.get(scorer, (None, {})))
    for dataset, source, policy, mean, row in _TABLES
    for scorer, percent in row.items()
)


def on(dataset: str) -> list[Published]:
    """What was published on a test set."""
    return [row for row in PUBLISHED if row.dataset == dataset]


def of_scorer(dataset: str, reward: str, fields: Mapping[str, object]) -> list[Published]:
    """What was published on a test set for the scorer that a plug-in with these fields is."""
    return [row for row in on(dataset) if row.reward == reward and _same_version(row.fields, fields)]


def recognized(reader: str, rankings: int, pairs: int, decided: int) -> str | None:
    """The test set that a reader's data must be by its counts; None where it is another, or a part, or has to be told."""
    for name, known in KNOWN_SETS.items():
        if not known.told and reader in known.readers and (rankings, pairs, decided) == (known.rankings, known.pairs, known.decided):
            return name
    return None


def mismatch(dataset: str, rankings: int, pairs: int, decided: int) -> str | None:
    """How data that is said to be a test set differs from it, as a sentence; None where nothing is known to differ."""
    known = KNOWN_SETS[dataset]
    for word, here, there in (
        ("rankings", rankings, known.rankings),
        ("pairs", pairs, known.pairs),
        ("decided pairs", decided, known.decided),
    ):
        if there is not None and here != there:
            return f"this is said to be {known.title}, which has {there} {word}, but it has {here}, so the published numbers are left out"
    return None


def _same_version(wanted: Mapping[str, str], fields: Mapping[str, object]) -> bool:
    return all(_plain(fields.get(key)) == _plain(value) for key, value in wanted.items())


def _plain(value: object) -> str:
    return str(value).lower().removeprefix("v")
