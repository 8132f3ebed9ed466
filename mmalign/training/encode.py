"""From preferences to cached latents and embeddings, so that a training step never encodes anything.

Keys are digests of the content: an image's bytes and preprocessing with the VAE's weights, a prompt with the text encoders' weights.
Equal prompts are encoded once, and a second run over the same data finds everything done.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm

from mmalign.config import DataConfig
from mmalign.data.broken import readable, settle_broken
from mmalign.data.buckets import Size
from mmalign.data.cache import TensorCache
from mmalign.data.digest import digest
from mmalign.data.schema import Example
from mmalign.data.transforms import transform
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.geometry import Geometry
from mmalign.images import ImageSource
from mmalign.objective import Objective
from mmalign.training.bucketing import buckets_for, shapes_of
from mmalign.training.dataset import CONDITIONING, EncodedExamples, Row
from mmalign.training.order import derived_seed, generator
from mmalign.training.preferences import check_candidates, check_label, check_scores, ranks_of

AT_ONCE = 16  # images or prompts through an encoder
ROWS_PER_SHARD = 64  # what a kill can lose


@dataclass(frozen=True)
class Share:
    """This process's part in filling a cache on disk that all processes read; ``wait`` returns once every part is filled."""

    rank: int = 0
    world: int = 1
    wait: Callable[[], object] = lambda: None


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


def encode(
    family: DiffusionFamily,
    examples: Sequence[Example],
    config: DataConfig,
    objective: Objective,
    seed: int,
    share: Share = Share(),
    progress: bool = True,
    drawn: int = 0,
) -> EncodedExamples:
    """Encodes all images and prompts that the cache does not hold yet.

    Args:
        family: the family, bound to its pipeline.
        examples: all with a number of candidates that the method compares, and with the same where it compares one number only.
        config: resolution, crop, flip, caption dropout, and the cache's folder (None keeps it in memory, once per process).
        objective: the method that they are for.
        seed: decides random crops and, during training, flips and dropped captions.
        share: this process's part.
        progress: show bars.
        drawn: candidates of a row that are drawn during the run, and come beside those here.

    Raises:
        UserError: images are broken, the rows are of different kinds, or the method does not read such labels; the message names the
            rows. Broken images are told once all others are in the cache, so that nothing is encoded again; or their rows are left out
            and counted, where the configuration says so.
    """
    cache = TensorCache(None if config.cache_dir is None else config.cache_dir.expanduser())
    encoder = Encoder(family, config, seed)
    found, prompts = read_through(encoder, examples, objective, drawn, share.rank == 0, progress)
    buckets = buckets_for(family, config, [one.shapes for one in found])
    rows = [encoder.keyed(one, None if buckets is None else buckets.window(index)) for index, one in enumerate(found)]
    # dealt before looking at what is there: another process may be filling the cache already
    part = slice(share.rank, None, share.world) if cache.folder is not None else slice(None)
    encoder.fill_prompts(cache, {key: prompts[key] for key in cache.missing(list(prompts)[part])}, progress)
    todo = [i for i in range(len(rows))[part] if cache.missing((*rows[i].images, *rows[i].flipped))]
    encoder.fill_images(cache, [(rows[i], found[i].place) for i in todo], examples, progress)
    share.wait()
    cache.refresh()
    # what is broken is known to the process that tried, and to all by its not being there
    whole = [i for i, row in enumerate(rows) if not cache.missing((*row.images, *row.flipped))]
    if not whole:
        raise UserError(f"none of {len(examples):,} rows has images that can all be read; `mmalign data inspect SOURCE` tells why")
    kept = {"places": [found[i].place for i in whole], "buckets": None if buckets is None else buckets.only(whole)}
    return EncodedExamples([rows[i] for i in whole], cache, encoder.prompt_key(""), config.caption_dropout, seed, **kept)


def read_through(
    encoder: "Encoder", examples: Sequence[Example], objective: Objective, drawn: int, tell: bool, progress: bool
) -> tuple[list[Found], dict[str, str]]:
    """What is found of the examples that can be read, and the prompts by key, the empty one among them.

    Raises:
        UserError: as ``encode`` does.
    """
    found: list[Found] = []
    prompts, broken = {encoder.prompt_key(""): ""}, []
    for place, example in tqdm(readable(examples, broken), total=len(examples), desc="reading", disable=not progress):
        check_length(objective, example, len(found[0].content) if found else None, drawn)
        check_label(objective, example)
        if not drawn:
            check_scores(objective, example)
        try:
            found.append(encoder.found(place, example))
        except UserError as error:
            broken.append(str(error))
        else:
            prompts[found[-1].row.prompt] = example.prompt
    settle_broken(broken, len(examples), encoder.config.on_broken if found else "raise", tell)
    return found, prompts


def check_length(objective: Objective, example: Example, expected: int | None, drawn: int = 0) -> None:
    """Raises UserError where a row cannot share a batch with those before."""
    count = len(example.images)
    if len(objective.candidates) > 1 or not count:
        check_candidates(objective, example, drawn)
    elif count != (expected or count):
        raise UserError(f"{example.origin} has {count} candidates, the rows before have {expected}; train on one kind at a time")


class Encoder:
    """The family's encoders with the settings that decide what they give."""

    def __init__(self, family: DiffusionFamily, config: DataConfig, seed: int):
        self.family, self.config, self.seed = family, config, seed
        self.resolution = config.resolution or family.default_resolution
        self.square = (self.resolution, self.resolution)
        scale = {name: family.pipe.vae.config.get(name) for name in ("scaling_factor", "shift_factor", "latents_mean", "latents_std")}
        kind = type(family).__name__
        self.image_base = digest(kind, fingerprint([family.pipe.vae]), scale, [self.resolution, config.center_crop])
        zeros = family.pipe.config.get("force_zeros_for_empty_prompt")
        self.prompt_base = digest(kind, fingerprint(family.text_encoders), zeros)

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
        row = Row(self.prompt_key(example.prompt), (), (), example.origin, example.weight, **said)
        content = tuple(_contents(example))
        return Found(place, row, content, tuple(shapes_of(example)) if self.config.buckets else ())

    def keyed(self, found: Found, window: Size | None) -> Row:
        """Its row, with its images cut to a window; None = to the square."""
        images, flipped = self.image_keys(found.content, window)
        return replace(found.row, images=images, flipped=flipped, window=window)

    def fill_prompts(self, cache: TensorCache, prompts: dict[str, str], progress: bool) -> None:
        with tqdm(total=len(prompts), desc="encoding prompts", disable=not progress or not prompts) as bar:
            for part in _parts(list(prompts.items()), AT_ONCE):
                encoded = self.family.encode_prompts([prompt for _, prompt in part])
                cache.put({key: {name: value[i].cpu().clone() for name, value in encoded.items()} for i, (key, _) in enumerate(part)})
                bar.update(len(part))

    def fill_images(self, cache: TensorCache, todo: Sequence[tuple[Row, int]], examples: Sequence[Example], progress: bool) -> None:
        """Encodes the images of rows, each given with the place of its example."""
        broken: list[str] = []
        with tqdm(total=len(todo), desc="encoding images", disable=not progress or not todo) as bar:
            for part in _parts(todo, ROWS_PER_SHARD):
                cache.put(self.images([(row, examples[place]) for row, place in part], bar, broken))
        settle_broken(broken, len(todo), self.config.on_broken)

    def images(
        self, rows: Sequence[tuple[Row, Example]], bar: tqdm | None = None, broken: list[str] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """What the cache should hold of the images of rows; the bar counts rows.

        Args:
            broken: takes a sentence for each row with an image that cannot be read, which has no entries then; None = it is raised.
        """
        views: list[tuple[str, Tensor, Geometry]] = []
        for row, example in rows:
            try:
                views += list(self._views(row, example))
            except UserError as error:
                if broken is None:
                    raise
                broken.append(str(error))
        entries: dict[str, dict[str, Tensor]] = {}
        with self.family.precise_vae():
            for size in dict.fromkeys(pixels.shape for _, pixels, _ in views):
                for few in _parts([view for view in views if view[1].shape == size], AT_ONCE):
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
                pixels, geometries = transform(example, row.window or self.square, crop=crop, flip=flip)
                yield from zip(keys, pixels, geometries, strict=True)

    def _encoded(self, views: Sequence[tuple[str, Tensor, Geometry]]) -> dict[str, dict[str, Tensor]]:
        """The entries of views of one size."""
        means, stds = self.family.encode_images(torch.stack([pixels for _, pixels, _ in views]))
        entries = {}
        for (key, _, geometry), mean, std in zip(views, means.cpu(), stds.cpu(), strict=True):
            conditioning = {CONDITIONING + name: value for name, value in self.family.image_conditioning(geometry).items()}
            entries[key] = {"mean": mean.clone(), "std": std.clone()} | conditioning
        return entries


def _parts(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _contents(example: Example) -> list[str]:
    """What tells the images of an example from all others."""
    try:
        return [image_digest(source) for source in example.images]
    except OSError as error:
        remedy = "replace it, or leave such rows out with on_broken='skip'"
        raise UserError(f"{example.origin}: the image {error.filename} cannot be read ({error.strerror}); {remedy}") from error


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
