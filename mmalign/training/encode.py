"""From preferences to cached latents and embeddings, so that a training step never encodes anything.

Keys are digests of the content: an image's bytes and preprocessing with the VAE's weights, a prompt with the text encoders' weights.
Equal prompts are encoded once, and a second run over the same data finds everything done.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from mmalign.config import DataConfig
from mmalign.data.cache import TensorCache, digest
from mmalign.data.schema import Example
from mmalign.data.transforms import transform
from mmalign.diffusion.family import DiffusionFamily
from mmalign.diffusion.policy import DiffusionBatch
from mmalign.errors import UserError
from mmalign.geometry import Geometry
from mmalign.images import ImageSource
from mmalign.training.order import derived_seed, generator

CONDITIONING = "conditioning."


@dataclass(frozen=True)
class Row:
    """One example's keys in the cache."""

    prompt: str
    images: tuple[str, ...]
    flipped: tuple[str, ...]
    origin: str
    weight: float


class EncodedExamples(Dataset):
    """Rows of cached tensors, addressed by (row, position) so that caption dropout and flips follow from the position alone.

    Args:
        rows: keys of the examples.
        cache: where the tensors are.
        empty_prompt: key of the empty prompt's embeddings.
        caption_dropout: share of draws in which the prompt is left empty, for all candidates of the row.
        seed: the run's seed.
    """

    def __init__(self, rows: Sequence[Row], cache: TensorCache, empty_prompt: str, caption_dropout: float, seed: int):
        self.rows, self.cache, self.empty_prompt, self.caption_dropout, self.seed = rows, cache, empty_prompt, caption_dropout, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: tuple[int, int]) -> DiffusionBatch:
        """A batch of one row."""
        index, position = item
        row = self.rows[index]
        dropped, flipped = torch.rand(2, generator=generator(self.seed, "augment", position)).tolist()
        prompt = self.cache.get(self.empty_prompt if dropped < self.caption_dropout else row.prompt)
        images = [self.cache.get(key) for key in (row.flipped if row.flipped and flipped < 0.5 else row.images)]
        stacked = {name: torch.stack([image[name] for image in images])[None] for name in images[0]}
        return DiffusionBatch(
            latent_mean=stacked.pop("mean"),
            latent_std=stacked.pop("std"),
            prompt_conditioning={name: value[None] for name, value in prompt.items()},
            image_conditioning={name.removeprefix(CONDITIONING): value for name, value in stacked.items()},
            origins=(row.origin,),
            weights=torch.tensor([row.weight]),
            positions=(position,),
        )


def collate(rows: Sequence[DiffusionBatch]) -> DiffusionBatch:
    """Rows of one as one batch."""

    def joined(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
        parts = list(parts)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    return DiffusionBatch(
        latent_mean=torch.cat([row.latent_mean for row in rows]),
        latent_std=torch.cat([row.latent_std for row in rows]),
        prompt_conditioning=joined(row.prompt_conditioning for row in rows),
        image_conditioning=joined(row.image_conditioning for row in rows),
        origins=tuple(origin for row in rows for origin in row.origins),
        weights=torch.cat([row.weights for row in rows]),
        positions=tuple(position for row in rows for position in row.positions),
    )


def encode(family: DiffusionFamily, examples: Sequence[Example], config: DataConfig, seed: int, progress: bool = True) -> EncodedExamples:
    """Encodes all images and prompts that the cache does not hold yet.

    Args:
        family: the family, bound to its pipeline.
        examples: all with the same number of candidates.
        config: resolution, crop, flip, caption dropout, and the cache's folder (None keeps it in memory).
        seed: decides random crops and, during training, flips and dropped captions.

    Raises:
        UserError: an image is broken, or the rows are of different kinds; the message names the row.
    """
    cache = TensorCache(None if config.cache_dir is None else config.cache_dir.expanduser())
    encoder = _Encoder(family, config, seed)
    empty = encoder.prompt_key("")
    rows, prompts = [], {empty: ""}
    for example in tqdm(examples, desc="reading", disable=not progress):
        check_example(example, expected=len(rows[0].images) if rows else None)
        rows.append(encoder.row(example))
        prompts[rows[-1].prompt] = example.prompt
    encoder.fill_prompts(cache, {key: prompts[key] for key in cache.missing(prompts)}, progress)
    encoder.fill_images(cache, rows, examples, progress)
    return EncodedExamples(rows, cache, empty, config.caption_dropout, seed)


def check_example(example: Example, expected: int | None) -> None:
    """Raises UserError where a row cannot share a batch with those before, or carries a label that no method here reads."""
    count = len(example.images)
    if count != (expected or count):
        raise UserError(f"{example.origin} has {count} candidates, the rows before have {expected}; train on one kind at a time")
    if example.preference < 1:
        raise UserError(f"{example.origin} is a soft label ({example.preference}), which no method reads; read ties by drop or half")


class _Encoder:
    """The family's encoders with the settings that decide what they give."""

    def __init__(self, family: DiffusionFamily, config: DataConfig, seed: int):
        self.family, self.config, self.seed = family, config, seed
        self.resolution = config.resolution or family.default_resolution
        kind = type(family).__name__
        preprocessing = [self.resolution, config.center_crop]
        self.image_base = digest(kind, fingerprint([family.pipe.vae]), preprocessing)
        self.prompt_base = digest(kind, fingerprint(family.text_encoders))

    def prompt_key(self, prompt: str) -> str:
        return digest(self.prompt_base, prompt)

    def row(self, example: Example) -> Row:
        content = [image_digest(source) for source in example.images]
        # all candidates of a row share the crop, so its seed is part of their keys where it is random
        crop = None if self.config.center_crop else derived_seed(self.seed, "crop", *content)

        def keys(flip: bool) -> tuple[str, ...]:
            return tuple(digest(self.image_base, image, crop, flip) for image in content)

        flipped = keys(True) if self.config.random_flip else ()
        return Row(self.prompt_key(example.prompt), keys(False), flipped, example.origin, example.weight)

    def fill_prompts(self, cache: TensorCache, prompts: dict[str, str], progress: bool) -> None:
        with tqdm(total=len(prompts), desc="encoding prompts", disable=not progress or not prompts) as bar:
            items = list(prompts.items())
            for part in (items[i : i + 32] for i in range(0, len(items), 32)):
                encoded = self.family.encode_prompts([prompt for _, prompt in part])
                rows = {key: {name: value[i].cpu().clone() for name, value in encoded.items()} for i, (key, _) in enumerate(part)}
                cache.put(rows)
                bar.update(len(part))

    def fill_images(self, cache: TensorCache, rows: Sequence[Row], examples: Sequence[Example], progress: bool) -> None:
        todo = [i for i, row in enumerate(rows) if cache.missing((*row.images, *row.flipped))]
        with tqdm(total=len(todo), desc="encoding images", disable=not progress or not todo) as bar:
            for part in (todo[i : i + 16] for i in range(0, len(todo), 16)):
                entries: dict[str, dict[str, Tensor]] = {}
                for i in part:
                    entries |= self._encode_row(rows[i], examples[i])
                cache.put(entries)
                bar.update(len(part))

    def _encode_row(self, row: Row, example: Example) -> dict[str, dict[str, Tensor]]:
        crop = (0.5, 0.5)
        if not self.config.center_crop:
            content = [image_digest(source) for source in example.images]
            y, x = torch.rand(2, generator=torch.Generator().manual_seed(derived_seed(self.seed, "crop", *content))).tolist()
            crop = (y, x)
        entries = {}
        for flip, keys in ((False, row.images), (True, row.flipped)):
            if keys:
                pixels, geometries = transform(example, self.resolution, crop=crop, flip=flip)
                mean, std = self.family.encode_images(pixels)
                entries |= {key: self._entry(mean[k], std[k], geometries[k]) for k, key in enumerate(keys)}
        return entries

    def _entry(self, mean: Tensor, std: Tensor, geometry: Geometry) -> dict[str, Tensor]:
        conditioning = self.family.image_conditioning(geometry)
        return {"mean": mean.cpu().clone(), "std": std.cpu().clone()} | {CONDITIONING + name: value for name, value in conditioning.items()}


def image_digest(source: ImageSource) -> str:
    """A digest of an image's content."""
    if isinstance(source, Image.Image):
        buffer = BytesIO()
        source.save(buffer, format="PNG", compress_level=1)
        return digest(buffer.getvalue())
    return digest(source if isinstance(source, bytes) else Path(source).read_bytes())


def fingerprint(modules: Iterable[nn.Module]) -> str:
    """A digest that tells models apart without reading all of them: every tensor's name, shape and type, and its first and last values."""

    def tensors() -> Iterator[object]:
        for module in modules:
            yield type(module).__name__
            for name, tensor in module.state_dict().items():
                flat = tensor.detach().flatten()
                ends = torch.cat([flat[:64], flat[-64:]]).float().cpu().numpy().tobytes()
                yield [name, list(tensor.shape), str(tensor.dtype)]
                yield ends

    return digest(*tensors())
