"""Opening a vision-language model as a judge, from a folder or the hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmalign.errors import UserError
from mmalign.scorers.checkpoint import first_line, hub_reason
from mmalign.scorers.judge import Judge


def load_judge(place: str | Path, revision: str | None = None, dtype: torch.dtype = torch.float32) -> Judge:
    """A judge on the CPU, in evaluation mode.

    Args:
        place: folder or hub id of a chat model that looks at images: any AutoModelForImageTextToText with an AutoProcessor.
        revision: branch, tag or commit on the hub.
        dtype: number format of the weights.

    Raises:
        UserError: there is no such model, its weights do not fit its configuration, it takes no chats, or it is an encoder-decoder.
    """
    from transformers import AutoModelForImageTextToText

    processor = load_processor(place, revision)
    if not getattr(processor, "chat_template", None):
        raise UserError(f"the processor of {place} has no chat template, so how to ask it is unknown; give an instruction-tuned model")
    options = {"revision": revision, "dtype": dtype, "output_loading_info": True}
    model, report = attempt(place, "weights", lambda: AutoModelForImageTextToText.from_pretrained(place, **options))
    if report["missing_keys"]:
        raise UserError(f"the weights of {place} lack {min(report['missing_keys'])!r}; give the folder as it was published")
    if model.config.is_encoder_decoder:
        raise UserError(f"{place} is an encoder-decoder ({type(model).__name__}), which is not asked this way; give a decoder-only model")
    _greedy(model, processor)
    return Judge(model.eval(), processor)


def load_processor(place: str | Path, revision: str | None = None) -> Any:
    """The processor of a vision-language model, which resizes pictures with PIL, as those before transformers 5 did.

    Raises:
        UserError: there is none.
    """
    from transformers import AutoImageProcessor, AutoProcessor

    processor = attempt(place, "processor", lambda: AutoProcessor.from_pretrained(place, revision=revision))
    if getattr(processor, "tokenizer", None) is None or getattr(processor, "image_processor", None) is None:
        raise UserError(f"{place} has no processor of images and text; give a vision-language model")
    # asked of AutoProcessor, the backend would also be asked of the video processor, which has no other
    options = {"revision": revision, "backend": "pil"}
    processor.image_processor = attempt(place, "image processor", lambda: AutoImageProcessor.from_pretrained(place, **options))
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def _greedy(model: nn.Module, processor: Any) -> None:
    """Decoding without chance; what else the checkpoint says of it, such as a penalty on repetition, stays."""
    chance = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None, "typical_p": None, "min_p": None}
    model.generation_config.update(**chance)
    if model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = processor.tokenizer.pad_token_id


def attempt(place: str | Path, what: str, read: Callable[[], Any]) -> Any:
    """What transformers reads of a model, or one sentence on why it cannot.

    Args:
        what: what messages call it.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return read()
    except Exception as error:  # broken folders fail anywhere in the library
        reason = first_line(error) if Path(place).exists() else hub_reason(error)
        raise UserError(f"cannot read the {what} of {place} ({reason}); give the hub id or folder of a vision-language model") from error
