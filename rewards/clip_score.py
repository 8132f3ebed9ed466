"""CLIPScore: how near a picture is to its prompt for any CLIP or SigLIP."""

from typing import Literal

from torch import Tensor

from mmalign.errors import UserError
from mmalign.scorers.clip import ClipReward
from mmalign.scorers.load_clip import load_clip
from mmalign.scorers.model import Dtype
from mmalign.shapes.models import resolve

WEIGHT = 2.5
PREFIX = "A photo depicts "
FACTS = {
    "cosine": {"range": (-1.0, 1.0), "unit": "cosine"},
    "clipscore": {"range": (0.0, WEIGHT), "unit": "2.5 times the cosine, not below 0"},
}


class ClipScore(ClipReward):
    """The cosine between the embeddings of image and prompt, or CLIPScore (Hessel and others 2021), 2.5 max(cosine, 0).

    A cosine depends on the model: 0.15 to 0.4 is usual for CLIP, about 0 to 0.2 for SigLIP. Others publish 100 times the cosine.

    Args:
        pretrained: open_clip's ``ARCH:TAG``, or hub id, folder or checkpoint file of a model of open_clip or transformers. The paper's is
            "ViT-B-32:openai".
        form: "cosine" = the cosine itself; "clipscore" = 2.5 times it, not below 0, where the gradient ends.
        prefix: what is written before every prompt; None = "A photo depicts " for "clipscore", as published, and nothing for "cosine".
        arch: the architecture of a checkpoint file, by open_clip's name or as its JSON file.
        processor: hub id or folder of the tokenizer and image processor, where a model of transformers came without.
        revision: branch, tag or commit on the hub.
        device: where the model runs; "auto" = the accelerator where there is one.
        dtype: number format of the weights.
        batch_size: images scored at once.
    """

    needs_prompt = True
    range = (-1.0, WEIGHT)
    unit = "cosine, or 2.5 times it"
    licence = "MIT (OpenAI's weights; others have their own)"
    source = "arXiv 2104.08718"

    def __init__(
        self,
        pretrained: str = "ViT-L-14:openai",
        form: Literal["cosine", "clipscore"] = "cosine",
        prefix: str | None = None,
        arch: str | None = None,
        processor: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "float32",
        batch_size: int = 32,
    ) -> None:
        super().__init__(device, dtype, batch_size)
        if form not in FACTS:
            raise UserError(f"reward 'clip_score' has no form {form!r}; give cosine or clipscore")
        self.form = form
        self.declare(**FACTS[form])
        self.prefix = prefix if prefix is not None else PREFIX if form == "clipscore" else ""
        self.clip = self.place(load_clip(resolve(pretrained), arch=arch, processor=processor, revision=revision))

    def tokenize(self, prompts: list[str]) -> Tensor:
        return super().tokenize([self.prefix + prompt for prompt in prompts])

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        cosines = (images * texts).sum(-1)
        return cosines if self.form == "cosine" else WEIGHT * cosines.clamp(min=0)


PLUGIN = ClipScore
