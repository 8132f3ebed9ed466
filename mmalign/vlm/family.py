"""What the families of vision-language models share. A family is a file in ``mmalign.pipelines`` with what is particular to it."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmalign.errors import UserError
from mmalign.vlm.batch import PREFIX, ResponseBatch
from mmalign.vlm.cells import SEPARATOR, cropped_cells, grid_cells, padded_cells, separated_cells, tiled_cells
from mmalign.vlm.encode import EncodedPrompt
from mmalign.vlm.shown import FilmReader


class VlmFamily:
    """A family bound to a model and its processor. As it is, it fits any decoder-only image-text-to-text model of transformers.

    Args:
        model: an AutoModelForImageTextToText.
        processor: its AutoProcessor.

    Attributes:
        model_types: transformers' names of the models it is for; empty = any.
        lora_targets: names of layers in the language model that take a LoRA.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    lora_targets: ClassVar[tuple[str, ...]] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __init__(self, model: nn.Module, processor: Any):
        self.model, self.processor = model, processor

    @property
    def decoder(self) -> nn.Module:
        """The language model."""
        return decoder_of(self.model)[1]

    def lora_layers(self, targets: Sequence[str] | None = None) -> str | None:
        """A regular expression for the names of the language model's layers that take a LoRA; None where there are none.

        The vision tower has layers of the same names.

        Args:
            targets: last parts of their names; None = the family's.
        """
        name, decoder = decoder_of(self.model)
        wanted = tuple(targets or self.lora_targets)
        if not any(layer.endswith(tuple(f".{target}" for target in wanted)) for layer, _ in decoder.named_modules()):
            return None
        return rf"{re.escape(f'model.{name}')}\..*\.({'|'.join(map(re.escape, wanted))})"

    @property
    def most_frames(self) -> int | None:
        """Most frames of a film that the model takes; None = any number, or it takes no films."""
        return getattr(getattr(self.processor, "video_processor", None), "max_frames", None)

    def films(self, count: int = 8, fps: float | None = None, as_pictures: bool | None = None) -> FilmReader:
        """How the model is shown films.

        Args:
            count: most frames of a film; the model's own limit holds too.
            fps: frames per second of a film; None = ``count`` of every film.
            as_pictures: give frames as several pictures; None = where the model takes no films.

        Raises:
            UserError: it takes no films, but should be given them.
        """
        own = getattr(self.processor, "video_processor", None) is not None
        if not own and as_pictures is False:
            raise UserError(f"{type(self.model).__name__} takes no films; leave data.frames.as_pictures out, and it gets pictures")
        spread = not own if as_pictures is None else as_pictures
        limit = count if spread else min(count, self.most_frames or count)
        return FilmReader(limit, fps, spread)

    def look(self, vision: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the vision tower makes of pictures and films, as the model's forward takes it in place of them.

        Args:
            vision: the processor's outputs, on the model's device.
        """
        found = {}
        for kind, name in (("image", "pixel_values"), ("video", "pixel_values_videos")):
            if name in vision:
                features = getattr(self.model.model, f"get_{kind}_features")
                takes = inspect.signature(features).parameters
                given = {key: self._as_read(value) for key, value in vision.items() if key in takes}
                found[kind] = features(**given, return_dict=True)
        return found

    def _as_read(self, value: Tensor) -> Tensor:
        return value.to(self.model.dtype) if value.is_floating_point() else value

    def cells(self, row: EncodedPrompt, index: int, size: tuple[int, int]) -> Tensor:
        """Which part of a picture each of its tokens stands for, (n, 4): see ``mmalign.vlm.cells``.

        Args:
            row: an encoded prompt.
            index: which of its pictures.
            size: width and height of the picture as it was given.

        Raises:
            UserError: the family does not know.
        """
        name = type(self.model).__name__
        raise UserError(f"where in a picture the tokens of {name} lie is not known; leave collages and pictures in pictures out")

    def positions(self, batch: ResponseBatch) -> Tensor:
        """Position numbers of the packed tokens, (G, L) or (axes, G, L)."""
        return packed_positions(self.prompt_positions(batch), batch.segments)

    def prompt_positions(self, batch: ResponseBatch) -> Tensor:
        """Position numbers of the prompts' tokens, (G, L) or (axes, G, L); what stands at other tokens does not matter."""
        return torch.arange(batch.ids.shape[1], device=batch.ids.device).expand_as(batch.ids)


class RotaryFamily(VlmFamily):
    """Models that count the tokens of pictures along time, height and width, and say so with ``get_rope_index``."""

    def prompt_positions(self, batch: ResponseBatch) -> Tensor:
        prompt = (batch.segments == PREFIX).int()
        grids = {name: batch.vision[name] for name in ("image_grid_thw", "video_grid_thw", "second_per_grid_ts") if name in batch.vision}
        return self.model.model.get_rope_index(batch.ids, batch.kinds, attention_mask=prompt, **grids)[0]

    def cells(self, row: EncodedPrompt, index: int, size: tuple[int, int]) -> Tensor:
        _, rows, columns = row.vision["image_grid_thw"][index].tolist()
        merged = self.processor.image_processor.merge_size
        return grid_cells(rows // merged, columns // merged)


class GridFamily(VlmFamily):
    """Models with one square grid of tokens per picture, such as LLaVA-1.5."""

    def cells(self, row: EncodedPrompt, index: int, size: tuple[int, int]) -> Tensor:
        start, stop = row.spans[index]
        side = round((stop - start) ** 0.5)
        if side * side != stop - start:
            return super().cells(row, index, size)
        return (padded_cells if getattr(self.processor.image_processor, "do_pad", False) else cropped_cells)(side, size)


class AnyresFamily(GridFamily):
    """Models of a square grid per picture, or of one over the whole picture and another over its tiles, such as LLaVA-NeXT and OneVision.

    In the second, padding is left out and a separator follows each row. A picture that is not cut into tiles, as OneVision does where a
    prompt has several, is a square with a separator at its end.
    """

    def cells(self, row: EncodedPrompt, index: int, size: tuple[int, int]) -> Tensor:
        places = getattr(self.processor.image_processor, "image_grid_pinpoints", None)
        if places is None:
            return super().cells(row, index, size)
        start, stop = row.spans[index]
        tower = self.model.config.vision_config
        side = tower.image_size // tower.patch_size
        if stop - start == side * side + 1:
            return torch.cat([padded_cells(side, size), SEPARATOR])
        rows, columns = self._tiles(side, size, places)
        return torch.cat([grid_cells(side, side), separated_cells(rows, columns)])

    def _tiles(self, side: int, size: tuple[int, int], places: Sequence[Sequence[int]]) -> tuple[int, int]:
        """Rows and columns of the grid over the tiles, as the processor counts them."""
        from transformers.image_processing_utils import select_best_resolution

        width, height = size
        tile = self.model.config.vision_config.image_size
        tall, wide = select_best_resolution([height, width], places)
        tokens, rows = self.processor._get_unpadded_features(height, width, side, side, tall // tile, wide // tile)
        return rows, tokens // rows


class TiledFamily(VlmFamily):
    """Models that cut a picture into tiles and add the whole one, such as Idefics3 and SmolVLM."""

    @property
    def most_frames(self) -> int | None:
        return getattr(getattr(self.processor, "video_processor", None), "num_frames", None)

    def cells(self, row: EncodedPrompt, index: int, size: tuple[int, int]) -> Tensor:
        start, stop = row.spans[index]
        return tiled_cells(self.processor.tokenizer.decode(row.prefix[start:stop]), self.processor.image_token)


def decoder_of(model: nn.Module) -> tuple[str, nn.Module]:
    """The language model within a model, and its name there.

    Raises:
        UserError: it is not where transformers has it.
    """
    for name in ("language_model", "text_model"):
        inner = getattr(model.model, name, None)
        if inner is not None:
            return name, inner
    raise UserError(f"the language model of {type(model).__name__} is not where transformers keeps it; choose another model")


def packed_positions(prompts: Tensor, segments: Tensor) -> Tensor:
    """The positions of prompts (..., G, L), with each response counting on from its prompt's end."""
    lengths = (segments == PREFIX).sum(1)
    ends = prompts.gather(-1, (lengths - 1)[:, None].expand(*prompts.shape[:-1], 1)) + 1
    # a place's distance from the first of its segment
    places = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    first = torch.where(segments.diff(dim=1, prepend=segments[:, :1]) != 0, places, 0).cummax(1).values
    return torch.where(segments == PREFIX, prompts, ends + places - first)
