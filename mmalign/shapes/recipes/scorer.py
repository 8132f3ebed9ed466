"""The CLIP-type scorer before it has seen a preference: trained on renders, as any CLIP is on pictures with captions.

The world's captions let more be told than which caption belongs to which picture: how many attributes of *any* caption are right in any
picture. The cosines of a batch learn that whole table. What a base model's broken pictures are worth is not learned here; that is what
``mmalign train configs/reward/shapes_clip.yaml`` adds, from preferences.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.shapes.captions import prompts
from mmalign.shapes.recipes.draws import caption_attributes, random_attributes, random_styles
from mmalign.shapes.recipes.loop import Fit, fit
from mmalign.shapes.recipes.text import tokenize
from mmalign.shapes.render import draw
from mmalign.shapes.scene import ATTRIBUTES

SIDE, PATCH = 64, 4
BATCH, CAPTIONS = 48, 192
SCALE = 10.0  # temperature at the start


def build(encoder: nn.Module, layers: int = 4, heads: int = 4) -> nn.Module:
    """A ``CLIPModel`` for 64-pixel pictures, whose patches are four pixels wide, around a trained ``CLIPTextModelWithProjection``."""
    from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig

    width = encoder.config.hidden_size
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": heads, "num_hidden_layers": layers}
    vision = CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, **shape)
    model = CLIPModel(
        CLIPConfig(
            text_config=encoder.config.to_dict(),
            vision_config=vision.to_dict(),
            projection_dim=encoder.config.projection_dim,
            logit_scale_init_value=math.log(SCALE),
        )
    )
    missing, extra = model.load_state_dict(encoder.state_dict(), strict=False)
    if extra or any(name.startswith("text_") for name in missing):
        raise RuntimeError(f"the text encoder does not fit: {extra or missing}")
    return model


def processor():
    """The recipe for pictures: what 64-pixel pictures are is left as it is; other sizes become 64 pixels."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def pretrain(words, encoder: nn.Module, seed: int = 0, steps: int = 1500, rate: float = 4e-3) -> Fit:
    """Train both towers on renders with seen captions; the model of the result is a ``CLIPModel``."""
    torch.manual_seed(seed)
    model, batches = build(encoder), _batches(words, seed)
    # cosine -> count: both ends are learned, since no picture is the opposite of a caption
    line = nn.Parameter(torch.tensor([5.0, 0.0]))
    model.register_parameter("line", line)

    def loss(step: int) -> Tensor:
        pixels, ids, right = next(batches)
        images = F.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
        texts = F.normalize(model.get_text_features(input_ids=ids).pooler_output, dim=-1)
        return (line[0] * images @ texts.T + line[1] - right).square().mean()

    done = fit(model, loss, steps, rate, ema=0.99, muon=True, name="scorer")
    del model.line
    return done


def _batches(words, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Pixels (B, 3, 64, 64), token ids (C, 16), and how many attributes of each caption are right in each picture (B, C)."""
    generator = torch.Generator().manual_seed(seed)
    captions = prompts("seen")
    named, ids = caption_attributes(captions), tokenize(words, captions)
    preprocess = _normalize()
    while True:
        shown = random_attributes(BATCH, generator)
        pictures = draw(shown, random_styles(BATCH, generator))
        near = _nearest(shown, named, generator)
        chosen = torch.cat([near, torch.randint(len(captions), (CAPTIONS - len(near),), generator=generator)])
        yield preprocess(pictures), ids[chosen], (shown[:, None] == named[chosen]).sum(-1).float()


def _nearest(shown: Tensor, named: Tensor, generator: torch.Generator) -> Tensor:
    """For each picture one caption with four or five attributes right, so that a batch has close calls."""
    right = (shown[:, None] == named).sum(-1)
    close = (right >= len(ATTRIBUTES) - 1).float() + 1e-9
    return torch.multinomial(close, 1, generator=generator)[:, 0]


def _normalize():
    found = processor()
    mean, std = (torch.tensor(values)[:, None, None] for values in (found.image_mean, found.image_std))
    return lambda pictures: (pictures - mean) / std
