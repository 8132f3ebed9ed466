"""VQAScore: how sure a vision-language model is that the answer to "does it show this?" is yes."""

from PIL import Image
from torch import Tensor

from mmalign.errors import UserError
from mmalign.scorers.judge import Asked, Question
from mmalign.scorers.judge_reward import JudgeReward, checked_template
from mmalign.scorers.load_judge import load_judge
from mmalign.scorers.model import Dtype
from mmalign.shapes.models import resolve


class VQAScore(JudgeReward):
    """Lin and others, "Evaluating Text-to-Visual Generation with Image-to-Text Generation" (2024): P("Yes") to one question.

    The score is exp of the mean log-probability of the answer's tokens, in float32, after the question in the model's chat template.

    The model that the published numbers were made with, CLIP-FlanT5, has no class in transformers and is not offered here. Scores of
    different models do not compare, and none of them is a published VQAScore unless the model and the question are the same.

    Args:
        pretrained: hub id or folder of a chat model that looks at images, such as LLaVA, Qwen-VL, SmolVLM or Idefics3.
        revision: branch, tag or commit on the hub.
        question: what is asked; ``{caption}`` is where the prompt goes.
        answer: the answer whose probability is taken.
        pad_to_square: whether pictures are padded to squares with the model's mean color, as the published scorer's were.
        device: where the model runs; "auto" = the accelerator where there is one.
        dtype: number format of the weights; float32 makes scores independent of their batch to more digits.
        batch_size: images scored at once.
    """

    range = (0.0, 1.0)
    unit = 'probability of "Yes"'
    licence = "that of the model; Apache-2.0 for the default"
    source = "arXiv 2404.01291"
    side = "right"

    def __init__(
        self,
        pretrained: str = "Qwen/Qwen2.5-VL-7B-Instruct",
        revision: str | None = None,
        question: str = 'Does this figure show "{caption}"? Please answer yes or no.',
        answer: str = "Yes",
        pad_to_square: bool = False,
        device: str = "auto",
        dtype: Dtype = "bfloat16",
        batch_size: int = 8,
    ) -> None:
        super().__init__(device, dtype, batch_size)
        if not answer.strip():
            raise UserError("reward 'vqa_score' needs an answer of at least one letter; the published one is Yes")
        self.template, self.answer = checked_template(question, "question of reward 'vqa_score'"), answer.strip()
        self.judge = self.seat(load_judge(resolve(pretrained), revision, self.dtype))
        mean = getattr(self.judge.processor.image_processor, "image_mean", None) or (0.5, 0.5, 0.5)
        self.padding = tuple(int(255 * value) for value in mean) if pad_to_square else None

    def question(self, image: Image.Image, prompt: str, name: str) -> Question:
        return Question((image,), self.template.replace("{caption}", prompt), name)

    def prepare(self, image: Image.Image) -> Image.Image:
        return image if self.padding is None else _square(image, self.padding)

    def _score(self, images: Asked, prompts: list[str] | None) -> Tensor:
        return self.judge.answer_logprobs(images).exp()


def _square(image: Image.Image, color: tuple[int, ...]) -> Image.Image:
    """The picture in the middle of a square of one color."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), color)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


PLUGIN = VQAScore
