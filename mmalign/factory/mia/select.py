"""Which of a model's own answers become rejected ones, and why others do not."""

from dataclasses import dataclass

from mmalign.config.mia import MiaOptions
from mmalign.factory.mia.plan import Request
from mmalign.vlm.edits import distance, length_ratio, plain

STRICT = ("collage", "pic_in_pic")
"""Kinds where the published rule keeps shares below the threshold; of a sequence the threshold itself is kept too."""


@dataclass(frozen=True)
class Measures:
    """What is known of an answer.

    Attributes:
        share: of its attention to pictures the part that the one asked about got; None where it was too short to be measured.
        threshold: the largest share with which it is kept.
        perplexity: 1 = the model was wholly sure.
        length_ratio: how many times the words of the shorter text the longer one has.
        distance: to the right answer, as a share of the longer text's characters; case and a final stop do not count.
        tokens: of the answer.
    """

    share: float | None
    threshold: float
    perplexity: float
    length_ratio: float
    distance: float
    tokens: int


def threshold_of(request: Request, options: MiaOptions) -> float:
    """The largest share with which an answer is kept."""
    return options.thresholds[request.kind][request.count]


def measured(
    request: Request, chosen: str, said: str, share: float | None, perplexity: float, tokens: int, options: MiaOptions
) -> Measures:
    """An answer beside the right one."""
    threshold = threshold_of(request, options)
    return Measures(share, threshold, perplexity, length_ratio(chosen, said), distance(plain(chosen), plain(said)), tokens)


def reason_against(request: Request, said: str, found: Measures, options: MiaOptions) -> str | None:
    """Why an answer is not kept, the first reason of several; None = it is."""
    if not plain(said):
        return "the model said nothing"
    if found.distance == 0:
        return "same as the right answer"
    if found.share is None:
        return "too short to measure where it looked"
    if found.share > found.threshold or (found.share == found.threshold and request.kind in STRICT):
        return "looked at the right picture"
    if options.min_perplexity is not None and found.perplexity <= options.min_perplexity:
        return "too sure of itself"
    if options.max_length_ratio is not None and found.length_ratio > options.max_length_ratio:
        return "much longer or shorter than the right answer"
    if found.distance < options.min_edit_distance:
        return "almost the right answer"
    return None
