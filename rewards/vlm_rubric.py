"""A vision-language model as an annotator: ratings of named aspects, each with its reason."""

from collections.abc import Mapping, Sequence

from PIL import Image

from mmalign.errors import UserError
from mmalign.plugins import nearest
from mmalign.reward import Images
from mmalign.scorers.judge import Question
from mmalign.scorers.judge_reward import WrittenReward, name_of
from mmalign.scorers.load_judge import load_judge
from mmalign.scorers.model import Dtype
from mmalign.scorers.rubric import ASPECTS, Annotation, Rubric
from mmalign.shapes.models import resolve


class VLMRubric(WrittenReward):
    """The way of Wu and others, "Multimodal Large Language Models Make Text-to-Image Generative Models Align Better" (VisionPrefer, 2024).

    The model rates each aspect from 1 to 5 and says why; the score is their weighted mean. The question is this library's own wording,
    so that the scores are no published ones. ``annotate`` gives ratings and reasons. Where a rating of any weight cannot be read the
    score is NaN, logged, and kept in ``failures``.

    Args:
        pretrained: hub id or folder of a chat model that looks at images.
        revision: branch, tag or commit on the hub.
        aspects: descriptions by name of what is rated; None = prompt-following, aesthetic, fidelity and harmlessness.
        weights: weights by aspect in the score, 0 or more; aspects left out weigh nothing. None = all alike.
        max_new_tokens: length of an answer, after which it is cut off.
        device: where the model runs; "auto" = the accelerator where there is one.
        dtype: number format of the weights.
        batch_size: images rated at once.
    """

    range = (1.0, 5.0)
    unit = "weighted mean rating"
    licence = "that of the model; Apache-2.0 for the default"
    source = "after arXiv 2404.15100"

    def __init__(
        self,
        pretrained: str = "Qwen/Qwen2.5-VL-7B-Instruct",
        revision: str | None = None,
        aspects: Mapping[str, str] | None = None,
        weights: Mapping[str, float] | None = None,
        max_new_tokens: int = 512,
        device: str = "auto",
        dtype: Dtype = "bfloat16",
        batch_size: int = 8,
    ) -> None:
        super().__init__(max_new_tokens, device, dtype, batch_size)
        self.rubric = Rubric(dict(ASPECTS if aspects is None else aspects))
        self.weights = _weights(self.rubric.aspects, weights)
        self.judge = self.seat(load_judge(resolve(pretrained), revision, self.dtype))

    def question(self, image: Image.Image, prompt: str, name: str) -> Question:
        return Question((image,), self.rubric.question(prompt), name)

    def annotate(self, images: Images, prompts: str | Sequence[str]) -> list[Annotation]:
        """Ratings, reasons and the whole answer for each image; arguments are those of ``score``."""
        images, matched = self.matched(images, prompts)
        failures, annotations = self.no_failures(), []
        for place, text in enumerate(self.written(self.questions(images, matched, self.batch_size), self.batch_size)):
            if self.read(text) is None:
                failures.append(self.failed(place, name_of(images, place), matched[place], text))
            annotations.append(self.rubric.read(text))
        return annotations

    def read(self, text: str) -> float | None:
        ratings = self.rubric.read(text).ratings
        if not self.weights.keys() <= ratings.keys():
            return None
        return sum(weight * ratings[name] for name, weight in self.weights.items()) / sum(self.weights.values())


def _weights(aspects: Mapping[str, str], weights: Mapping[str, float] | None) -> dict[str, float]:
    """The weights that are not zero."""
    if not aspects:
        raise UserError("reward 'vlm_rubric' has no aspects; name at least one")
    weights = dict.fromkeys(aspects, 1.0) if weights is None else weights
    for name, weight in weights.items():
        if name not in aspects:
            raise UserError(f"reward 'vlm_rubric' has no aspect {name!r} to weigh; {nearest(name, list(aspects))}")
        if not weight >= 0:
            raise UserError(f"reward 'vlm_rubric' weighs {name!r} by {weight}; give 0 or more")
    if not sum(weights.values()) > 0:
        raise UserError("reward 'vlm_rubric' gives no aspect a weight; give one more than 0")
    return {name: float(weight) for name, weight in weights.items() if weight > 0}


PLUGIN = VLMRubric
