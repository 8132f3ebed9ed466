"""BLIP's picture-grounded text encoder: the text reads the picture by cross-attention. The layout is that of the BLIP checkpoints.

Both halves have a kept home under the very names of the checkpoints: timm's vision transformer and transformers' BLIP text model.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.errors import UserError

HEAD_WIDTH = 64
"""Of BLIP's vision transformers of every size; a checkpoint does not say it."""
ADDED_TOKENS = ("[DEC]", "[ENC]")
TEXT_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "hidden_act",
    "layer_norm_eps",
)


class BlipEncoder(nn.Module):
    """A vision transformer, and a BERT with cross-attention to its tokens.

    Args:
        vision: shape of the vision transformer, as ``vision_shape`` gives it.
        text: the fields of ``med_config.json``.
    """

    def __init__(self, vision: Mapping[str, int], text: Mapping[str, object]) -> None:
        from timm.models.vision_transformer import VisionTransformer
        from transformers import BlipTextConfig, BlipTextModel

        super().__init__()
        self.visual_encoder = VisionTransformer(**vision, num_classes=0, global_pool="", weight_init="skip")
        # to transformers, a layer that may look at pictures is a decoder's; which way the text reads is said at each call
        unused = dict.fromkeys(("bos_token_id", "eos_token_id", "sep_token_id", "pad_token_id"))
        config = BlipTextConfig(**text, encoder_hidden_size=vision["embed_dim"], is_decoder=True, **unused)
        self.text_encoder = BlipTextModel(config, add_pooling_layer=False)

    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """What the first token knows after reading text and picture: (B, W) of pixels (B, 3, S, S), token ids and mask (B, L)."""
        seen = self.visual_encoder.forward_features(pixels)
        read = self.text_encoder(input_ids=tokens, attention_mask=mask, encoder_hidden_states=seen, is_decoder=False)
        return read.last_hidden_state[:, 0]


def vision_shape(tensors: Mapping[str, Tensor], path: Path, prefix: str = "", image_size: int = 224) -> dict[str, int]:
    """Shape of the vision transformer in a checkpoint, for pictures of ``image_size`` pixels a side.

    Raises:
        UserError: there is no vision transformer under that prefix, or its patches do not tile such a picture.
    """
    patches = tensors.get(f"{prefix}patch_embed.proj.weight")
    if patches is None:
        raise UserError(f"{path} is no BLIP checkpoint: it has no tensor '{prefix}patch_embed.proj.weight'; give the published file")
    width, patch = patches.shape[0], patches.shape[-1]
    if image_size < patch or image_size % patch:
        raise UserError(f"image_size is {image_size}, which patches of {patch} pixels do not tile; give a multiple of {patch}")
    depth = sum(name.startswith(f"{prefix}blocks.") and name.endswith(".norm1.weight") for name in tensors)
    return {"img_size": image_size, "patch_size": patch, "embed_dim": width, "depth": depth, "num_heads": max(1, width // HEAD_WIDTH)}


def resize_positions(positions: Tensor, image_size: int, patch_size: int) -> Tensor:
    """Position embeddings (1, 1 + n*n, W) for another picture size, as BLIP makes them: bicubic, the first token's kept."""
    old, new = round((positions.shape[1] - 1) ** 0.5), image_size // patch_size
    if old == new:
        return positions
    grid = positions[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def read_text_config(path: Path) -> dict[str, object]:
    """What ``med_config.json`` says about the text encoder.

    Raises:
        UserError: it is no JSON object, or lacks a field.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {field: found[field] for field in TEXT_FIELDS}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is no JSON object ({error}); download it again") from error
    except KeyError as error:
        raise UserError(
            f"{path} is no configuration of BLIP's text encoder: it has no {error}; give the published med_config.json"
        ) from error


class BlipTokenizer:
    """BERT's words and BLIP's two marks.

    Args:
        place: folder or hub id of the tokenizer.
        words: rows of the checkpoint's word embedding.
        length: tokens that a text is cut and padded to.

    Raises:
        UserError: there is no such tokenizer, or it has another number of words than the checkpoint.
    """

    def __init__(self, place: str, words: int, length: int) -> None:
        from transformers import BertTokenizer

        try:
            self.tokenizer = BertTokenizer.from_pretrained(place)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"there is no BERT tokenizer at {place} ({reason}); give the folder of bert-base-uncased") from error
        self.tokenizer.add_tokens(list(ADDED_TOKENS), special_tokens=True)
        # transformers makes up a vocabulary of five words where it finds no files
        if len(self.tokenizer) != words:
            raise UserError(
                f"the tokenizer at {place} has {len(self.tokenizer)} words and the checkpoint {words}; "
                "give bert-base-uncased, or its folder with vocab.txt"
            )
        self.length = length

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask, (U, length) each. The first token stays [CLS]."""
        read = self.tokenizer(texts, padding="max_length", truncation=True, max_length=self.length, return_tensors="pt")
        return read.input_ids, read.attention_mask
