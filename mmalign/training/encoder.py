"""What the VAE and the text encoders make of images and prompts, under keys that name everything it depends on."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from mmalign.config import DataConfig
from mmalign.data.broken import settle_broken
from mmalign.data.buckets import Size
from mmalign.data.cache import TensorCache
from mmalign.data.clips import transform_clips
from mmalign.data.digest import digest
from mmalign.data.films import clip_digest
from mmalign.data.schema import Example
from mmalign.data.transforms import transform
from mmalign.errors import UserError
from mmalign.geometry import Geometry
from mmalign.images import ImageSource
from mmalign.personalization.embeddings import mark
from mmalign.training.bucketing import shapes_of
from mmalign.training.dataset import CONDITIONING, Row, tokens_key
from mmalign.training.films import frames_of
from mmalign.training.opened import VAE, Opened
from mmalign.training.order import derived_seed, generator
from mmalign.training.preferences import ranks_of

AT_ONCE = 16  # images or prompts through an encoder
ROWS_PER_SHARD = 64  # what a kill can lose
PROMPTS_PER_SHARD = 256


@dataclass(frozen=True)
class Found:
    """An example as it was read.

    Attributes:
        place: its place among the examples.
        row: it, without the keys of its images, which depend on where they are cut.
        content: what tells each of its images from all others.
        shapes: of its images, logarithms of width over height; empty where nobody asks.
    """

    place: int
    row: Row
    content: tuple[str, ...]
    shapes: tuple[float, ...]


class Encoder:
    """The encoders with the settings that decide what they give. Each must be loaded where something is encoded.

    Attributes:
        image_base: a digest of all that a latent depends on but for its image.
        prompt_base: the same of an embedding.
    """

    def __init__(self, opened: Opened, config: DataConfig, seed: int):
        self.family, self.config, self.seed = opened.family, config, seed
        self.resolution = config.resolution or self.family.default_resolution
        self.square = (self.resolution, self.resolution)
        kind, numbers = type(self.family).__name__, config.cache_dtype
        self.frames = frames_of(self.family, config)
        looked = [self.resolution, config.center_crop] + ([] if self.frames is None else [self.frames, config.fps])
        self.image_base = digest(kind, opened.told(VAE), looked, numbers)
        self.prompt_base = digest(kind, opened.told(*opened.text_parts, *opened.tokenizers), self.family.prompt_settings, numbers)

    def prompt_key(self, prompt: str) -> str:
        return digest(self.prompt_base, prompt)

    def image_keys(self, content: Sequence[str], window: Size | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Keys of the images of a row, from what tells each from all others; and those of the mirrored ones, where there are any.

        Args:
            window: what they are cut to; None = the square.
        """
        # all candidates of a row share the crop, so its seed is part of their keys where it is random
        crop = None if self.config.center_crop else derived_seed(self.seed, "crop", *content)
        other = [] if window in (None, self.square) else [window]

        def keys(flip: bool) -> tuple[str, ...]:
            return tuple(digest(self.image_base, image, crop, flip, *other) for image in content)

        return keys(False), keys(True) if self.config.random_flip else ()

    def found(self, place: int, example: Example) -> Found:
        """What there is to know of an example without decoding its images. Raises UserError where one is not there."""
        said = {"preference": example.preference, "ranks": tuple(ranks_of(example)), "scores": example.scores}
        if example.user_id is not None:
            said |= {"user": example.user_id, "mark": mark(example.prompt)}
        row = Row(self.prompt_key(example.prompt), (), (), example.origin, example.weight, **said)
        content = tuple(_contents(example))
        return Found(place, row, content, tuple(shapes_of(example, self.frames is not None)) if self.config.buckets else ())

    def keyed(self, found: Found, window: Size | None) -> Row:
        """Its row, with its images cut to a window; None = to the square."""
        images, flipped = self.image_keys(found.content, window)
        return replace(found.row, images=images, flipped=flipped, window=window)

    def fill_prompts(self, cache: TensorCache, prompts: dict[str, str], progress: bool) -> None:
        """Encodes prompts, given by their keys."""
        with tqdm(total=len(prompts), desc="encoding prompts", disable=not progress or not prompts) as bar:
            for shard in _parts(list(prompts.items()), PROMPTS_PER_SHARD):
                entries: dict[str, dict[str, Tensor]] = {}
                for part in _parts(shard, AT_ONCE):
                    encoded = self.family.encode_prompts([prompt for _, prompt in part])
                    for i, (key, _) in enumerate(part):
                        own = self.family.own_length({name: value[i] for name, value in encoded.items()})
                        entries[key] = {name: self._kept(value) for name, value in own.items()}
                    bar.update(len(part))
                cache.put(entries)

    def fill_tokens(self, cache: TensorCache, prompts: Mapping[str, str]) -> None:
        """Puts the tokens of prompts, given by the keys of their embeddings, into a cache that lacks them."""
        wanted = {tokens_key(key): prompt for key, prompt in prompts.items()}
        for part in _parts(cache.missing(wanted), PROMPTS_PER_SHARD):
            tokens = self.family.tokenize([wanted[key] for key in part])
            cache.put({key: {name: value[i].clone() for name, value in tokens.items()} for i, key in enumerate(part)})

    def fill_images(self, cache: TensorCache, todo: Sequence[tuple[Row, int]], examples: Sequence[Example], progress: bool) -> None:
        """Encodes the images of rows, each given with the place of its example; one that several rows have is encoded once."""
        broken: list[str] = []
        done: set[str] = set()
        with tqdm(total=len(todo), desc="encoding images", disable=not progress or not todo) as bar:
            for part in _parts(todo, ROWS_PER_SHARD):
                new = [(row, examples[place]) for row, place in part if not done.issuperset(row.all_images)]
                bar.update(len(part) - len(new))
                if new:
                    entries = self.images(new, bar, broken, done)
                    done |= entries.keys()
                    cache.put(entries)
        settle_broken(broken, len(todo), self.config.on_broken)

    def images(
        self,
        rows: Sequence[tuple[Row, Example]],
        bar: tqdm | None = None,
        broken: list[str] | None = None,
        done: Collection[str] = (),
    ) -> dict[str, dict[str, Tensor]]:
        """What the cache should hold of the images of rows; the bar counts rows.

        Args:
            broken: takes a sentence for each row with an image that cannot be read, which has no entries then; None = it is raised.
            done: keys of images that are left out.
        """
        by_key: dict[str, tuple[str, Tensor, Geometry]] = {}
        for row, example in rows:
            try:
                by_key |= {view[0]: view for view in list(self._views(row, example)) if view[0] not in done}
            except UserError as error:
                if broken is None:
                    raise
                broken.append(str(error))
        views, entries = list(by_key.values()), dict[str, dict[str, Tensor]]()
        with self.family.precise_vae():
            for size in dict.fromkeys(pixels.shape for _, pixels, _ in views):
                for few in _parts([view for view in views if view[1].shape == size], AT_ONCE if self.frames is None else 1):
                    entries |= self._encoded(few)
                    if bar is not None:
                        bar.update(len(few) * len(rows) / len(views))
        return entries

    def _views(self, row: Row, example: Example) -> Iterator[tuple[str, Tensor, Geometry]]:
        """Key, pixels and geometry of each of a row's images, flipped ones too where they are wanted."""
        crop = (0.5, 0.5)
        if not self.config.center_crop:
            content = _contents(example)
            down, right = torch.rand(2, generator=generator(self.seed, "crop", *content)).tolist()
            crop = (down, right)
        for flip, keys in ((False, row.images), (True, row.flipped)):
            if keys:
                yield from zip(keys, *self._pixels(example, row.window or self.square, crop, flip), strict=True)

    def _pixels(self, example: Example, window: Size, crop: tuple[float, float], flip: bool) -> tuple[Tensor, tuple[Geometry, ...]]:
        """An example's pictures, or its clips."""
        if self.frames is None:
            return transform(example, window, crop, flip)
        return transform_clips(example, window, self.frames, self.config.fps, crop, flip)

    def _encoded(self, views: Sequence[tuple[str, Tensor, Geometry]]) -> dict[str, dict[str, Tensor]]:
        """The entries of views of one size."""
        means, stds = self.family.encode_images(torch.stack([pixels for _, pixels, _ in views]))
        entries = {}
        for (key, _, geometry), mean, std in zip(views, means.cpu(), stds.cpu(), strict=True):
            conditioning = {CONDITIONING + name: value for name, value in self.family.image_conditioning(geometry).items()}
            entries[key] = {"mean": self._kept(mean), "std": self._kept(std)} | conditioning
        return entries

    def _kept(self, tensor: Tensor) -> Tensor:
        """A copy on the CPU in the number format of the cache, where that is shorter."""
        dtype = getattr(torch, self.config.cache_dtype)
        narrower = tensor.is_floating_point() and dtype.itemsize < tensor.dtype.itemsize
        return tensor.to("cpu", dtype if narrower else tensor.dtype, copy=True)


def _parts(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _contents(example: Example) -> list[str]:
    """What tells the images of an example from all others."""
    try:
        return [content_digest(source) for source in example.images]
    except OSError as error:
        remedy = "replace it, or leave such rows out with on_broken='skip'"
        raise UserError(f"{example.origin}: the image {error.filename} cannot be read ({error.strerror}); {remedy}") from error


def content_digest(source: ImageSource) -> str:
    """A digest of the content of an image, or of a clip."""
    if isinstance(source, Path) and source.is_dir():
        return clip_digest(source)
    if isinstance(source, Image.Image):
        buffer = BytesIO()
        source.save(buffer, format="PNG", compress_level=1)
        return digest(buffer.getvalue())
    return digest(source if isinstance(source, bytes) else Path(source).read_bytes())
