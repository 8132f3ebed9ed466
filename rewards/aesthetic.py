"""LAION's aesthetic predictors: how much people would like a picture, whatever it shows."""

import torch
from torch import Tensor

from mmalign.errors import UserError
from mmalign.scorers.aesthetic_heads import HEADS, load_head
from mmalign.scorers.clip import ClipReward
from mmalign.scorers.load_clip import load_clip
from mmalign.scorers.model import Dtype
from mmalign.shapes.models import resolve


class Aesthetic(ClipReward):
    """A rating that a small head reads from the unit embedding of a CLIP, trained on people's ratings from 1 to 10.

    Published heads: "sac+logos+ava1-l14-linearMSE" (the second version's, the one of LAION's subsets), "ava+logos-l14-linearMSE",
    "ava+logos-l14-reluMSE", and of the first version "sa_0_4_vit_l_14_linear", "sa_0_4_vit_b_32_linear", "sa_0_4_vit_b_16_linear".
    Photographs get about 4 to 7; ratings of different heads do not compare. The head works in float32 whatever ``dtype`` is.

    Args:
        pretrained: name of a published head, which is downloaded and checked, or the file of a head with the layers of one of these.
        backbone: the CLIP, as any place that ``load_clip`` knows; None = OpenAI's that the published head was trained on, ViT-L-14 for a
            head of your own.
        arch: the architecture of the backbone, where that is a checkpoint file.
        revision: branch, tag or commit of the backbone on the hub.
        device: where the model runs; "auto" = the accelerator where there is one.
        dtype: number format of the backbone's weights.
        batch_size: images scored at once.
    """

    needs_prompt = False
    range = (-26.0, 33.0)
    unit = "rating, of 1 to 10"
    licence = "Apache-2.0 (second version), MIT (first)"
    source = "christophschuhmann/improved-aesthetic-predictor, LAION-AI/aesthetic-predictor"

    def __init__(
        self,
        pretrained: str = "sac+logos+ava1-l14-linearMSE",
        backbone: str | None = None,
        arch: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "float32",
        batch_size: int = 32,
    ) -> None:
        super().__init__(device, dtype, batch_size)
        self.head = load_head(pretrained).to(self.device)
        self.clip = self.place(load_clip(resolve(backbone or _backbone(pretrained)), arch=arch, revision=revision))
        with torch.no_grad():
            width = self.text_embeddings([""]).shape[-1]
        if width != self.head[0].in_features:
            raise UserError(
                f"the head {pretrained} reads {self.head[0].in_features} numbers but the backbone gives {width}; give its backbone"
            )

    def compare(self, images: Tensor, texts: Tensor | None) -> Tensor:
        return self.head(images).squeeze(-1)


def _backbone(pretrained: str) -> str:
    name = pretrained.rpartition("/")[2].removesuffix(".pth")
    return (HEADS.get(name) or HEADS["sac+logos+ava1-l14-linearMSE"]).backbone


PLUGIN = Aesthetic
