"""MPS: the overall preference of MHP's annotators, a CLIP with a cross model read under a condition."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmalign.errors import UserError
from mmalign.reward import Scorer
from mmalign.scorers.checkpoint import locate
from mmalign.scorers.model import Dtype, ModelReward
from mmalign.scorers.mps import load_mps, relevance
from mmalign.scorers.preprocess import Preprocess

OVERALL = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, texture, quantity, "
    "attributes, position, number, location, word, things."
)


class Prompt(NamedTuple):
    """A prompt as the model has read it."""

    words: Tensor
    relevant: Tensor
    whole: Tensor


class MPS(ModelReward):
    """Zhang and others, "Learning Multi-dimensional Human Preference for Text-to-Image Generation" (CVPR 2024), for overall preference.

    exp(logit_scale) times the cosine between the prompt and the picture's first token, which has read those words of the prompt that are
    about the condition: whose best product with a word of the condition exceeds ``threshold`` times the highest in the prompt.

    The published code takes the highest of the whole batch instead, so that a score depends on its neighbors; and it runs in half
    precision. At batch size 1, as in the authors' evaluation, both rules are one. In a larger batch the published code reads fewer words
    of the prompts whose highest product is not the batch's.

    The published checkpoint is a pickle of Python objects and is refused. ``RE-N-Y/mpsv1`` holds its tensors as safetensors. Where you
    trust the pickle, this line in a clone of Kwai-Kolors/MPS, with the transformers that it asks for, makes ``mps.pt``, which is read here:
    ``torch.save(torch.load("MPS_overall_checkpoint.pth", map_location="cpu", weights_only=False).state_dict(), "mps.pt")``

    Args:
        pretrained: hub id or folder with ``model.safetensors``, or a file with the state dict.
        revision: branch, tag or commit of ``pretrained`` on the hub.
        clip: hub id or folder of the CLIP that it was trained from, for configuration and tokenizer; weights there are not read.
        condition: the aspects that words must be about; the published ones for overall preference.
        threshold: 0.3 in the scripts that the authors evaluate with; 0.01 in their model's own forward pass and in imscore.
        device: where the model runs; "auto" = the accelerator where there is one.
        dtype: number format of the weights.
        batch_size: images scored at once.

    Raises:
        UserError: a file is missing, damaged, a pickle of objects or of another model; or the threshold is not below 1.
    """

    needs_prompt = True
    differentiable = True
    range = (-100.0, 100.0)
    unit = "logit of being preferred"
    licence = "MIT"
    source = "Zhang and others, CVPR 2024, Kwai-Kolors/MPS"

    def __init__(
        self,
        pretrained: str = "RE-N-Y/mpsv1",
        revision: str | None = None,
        clip: str = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        condition: str = OVERALL,
        threshold: float = 0.3,
        device: str = "auto",
        dtype: Dtype = "float32",
        batch_size: int = 32,
    ) -> None:
        super().__init__(device, dtype, batch_size)
        if not threshold < 1:
            raise UserError(f"threshold is {threshold}, so that no word of a prompt is read; give less than 1, such as 0.3")
        config, self.tokenizer = _clip(clip)
        self.length, self.threshold = config.text_config.max_position_embeddings, threshold
        self.preprocess = Preprocess(size=config.vision_config.image_size, odd="floor")
        model = load_mps(locate(pretrained, "model.safetensors", revision), config)
        self.scale = model.model.logit_scale.float().exp().to(self.device)
        self.mps = self.place(model)
        with torch.no_grad():
            self.condition = self.mps.read(self._tokens([condition]))[0]

    def read(self, texts: list[str]) -> list[Prompt]:
        """Prompts as the model reads them."""
        tokens = self._tokens(texts)
        words = self.mps.read(tokens)
        # the end is the highest id, and the first of them where texts are padded with it
        whole = words[torch.arange(len(texts), device=tokens.device), tokens.argmax(-1)]
        return [Prompt(*parts) for parts in zip(words, relevance(words, self.condition) > self.threshold, whole, strict=True)]

    def _scorer(self, prompts: list[str] | None) -> Scorer:
        """Reads every distinct prompt once, and keeps it while there are pictures to come."""
        last = {prompt: place for place, prompt in enumerate(prompts or [])}
        known: dict[str, Prompt] = {}

        def score(pixels: Tensor, places: range) -> Tensor:
            batch = prompts[places.start : places.stop]
            new = [prompt for prompt in dict.fromkeys(batch) if prompt not in known]
            known.update(zip(new, self.read(new) if new else (), strict=True))
            scores = self._compare(pixels, [known[prompt] for prompt in batch])
            for prompt in set(batch):
                if last[prompt] < places.stop:
                    del known[prompt]
            return scores

        return score

    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        return self._scorer(prompts)(images, range(len(images)))

    def _compare(self, pixels: Tensor, prompts: list[Prompt]) -> Tensor:
        words, relevant, whole = (torch.stack(parts) for parts in zip(*prompts, strict=True))
        seen = self.mps.see(self.to_device(pixels), words, relevant)
        return self.scale * F.cosine_similarity(whole.float(), seen.float(), dim=-1)

    def _tokens(self, texts: list[str]) -> Tensor:
        read = self.tokenizer(texts, padding="max_length", truncation=True, max_length=self.length, return_tensors="pt")
        return self.to_device(read.input_ids)


def _clip(place: str) -> tuple:
    """Configuration and tokenizer of a CLIP of transformers."""
    from transformers import AutoTokenizer, CLIPConfig

    try:
        config, tokenizer = CLIPConfig.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"there is no configuration and tokenizer of a CLIP at {place} ({reason}); give its folder or hub id") from error
    return config, tokenizer


PLUGIN = MPS
