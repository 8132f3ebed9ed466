"""What a scorer promises."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmalign.images import open_image
from mmalign.prefetch import cores, prefetch

ImageLike = Image.Image | str | Path
Images = Tensor | Iterable[ImageLike]
LARGEST = 1 << 26
"""Numbers of a batch: 256 MiB as float32, or 22 pictures of a megapixel that are scored in full size."""
Scorer = Callable[[Any, range], Tensor]
"""Scores (B,) of a batch of prepared images, whose places among all images are given."""


class Reward(ABC):
    """A scorer of images, in the units it was published with.

    Rescaling, weighting and voting belong to the caller and are written in the configuration, never hidden in a scorer.
    The class attributes are facts that the tests check and that ``mmalign list rewards`` prints.

    Attributes:
        needs_prompt: whether a score is about a prompt.
        differentiable: whether ``score(..., differentiable=True)`` carries gradients to the pixels.
        range: lowest and highest score that can occur.
        unit: what one is.
        licence: of the weights, or of the code where there are none.
        source: paper or place of the definition.
        higher_is_better: whether a higher score is the better one.
        joint: whether a score depends on the other images under the same prompt, as a vote does.
        all_right_at_best: whether the upper end of the range means that everything asked for is there.
        batch_size: images scored at once.
        workers: threads that open and prepare images ahead, as many as there are cores and 8 at most; 0 = none.
    """

    needs_prompt: ClassVar[bool]
    differentiable: ClassVar[bool]
    range: ClassVar[tuple[float, float]]
    unit: ClassVar[str]
    licence: ClassVar[str]
    source: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    joint: ClassVar[bool] = False
    all_right_at_best: ClassVar[bool] = False

    batch_size: int = 32
    workers: int = min(8, cores())

    def declare(self, **facts: object) -> None:
        """Facts of this object in place of its class's."""
        vars(self).update(facts)

    def score(
        self, images: Images, prompts: str | Iterable[str] | None = None, *, batch_size: int | None = None, differentiable: bool = False
    ) -> Tensor:
        """Scores of shape (B,), float32, on the device of a tensor of images, else on the CPU.

        A score does not depend on the images it shares a batch with, nor on an autocast around it. Every distinct prompt is read once.

        Args:
            images: a tensor (B, 3, H, W) in [0, 1], or B PIL images or paths, in any iterable.
            prompts: B prompts in any iterable, or one prompt for all; may be left out where ``needs_prompt`` is false.
            batch_size: images scored at once; None = the reward's own.
            differentiable: keep the graph from the pixels to the scores. Images are then prepared by tensor operations, whose resizing
                differs a little from the published one on files.

        Raises:
            ValueError: images are of another shape or kind or not in a list, the number of prompts is neither one nor B, a prompt is no
                text or needed and missing, or gradients are asked for where they cannot flow.
            UserError: an image cannot be read.
        """
        if differentiable:
            self._check_differentiable(images)
        images, prompts = self.matched(images, prompts)
        with own_mode(differentiable):
            scores = list(self._by_batch(images, prompts, self.at_once(batch_size), differentiable))
        device = images.device if isinstance(images, Tensor) else torch.device("cpu")
        return torch.cat(scores).to(device) if scores else torch.zeros(0, device=device)

    def matched(self, images: Images, prompts: str | Iterable[str] | None) -> tuple[Tensor | list[ImageLike], list[str] | None]:
        """Images that can be counted and the prompt of each, from what ``score`` takes. Raises ValueError as it does."""
        images = listed(images)
        return images, self._match(prompts, len(images))

    def at_once(self, batch_size: int | None) -> int:
        """Images scored at once. Raises ValueError where they are fewer than one."""
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give 1 or more")
        return batch_size or self.batch_size

    def prepare(self, image: Image.Image) -> Any:
        """What ``collate`` takes of one upright RGB image, in threads ahead of the model; here a tensor (3, H, W) of 8 bits."""
        return to_bytes(image)

    def prepare_tensor(self, images: Tensor, differentiable: bool) -> Any:
        """The same of a batch (B, 3, H, W) in [0, 1], which is left on its device."""
        return images

    def collate(self, prepared: list[Any]) -> Any:
        """Prepared images of one shape as ``_score`` takes them; 8 bits become numbers in [0, 1]."""
        batch = torch.stack(prepared)
        return batch if batch.is_floating_point() else batch.float().div_(255)

    def _by_batch(self, images: Images, prompts: list[str] | None, size: int, differentiable: bool) -> Iterator[Tensor]:
        """Scores of batch after batch, on the device they were made on."""
        scorer, start = self._scorer(prompts), 0
        for count, batch in self._batches(images, prompts, size, differentiable):
            yield scorer(batch, range(start, start + count)).float()
            start += count

    def _scorer(self, prompts: list[str] | None) -> Scorer:
        """What scores a batch. A reward that reads prompts on their own does it here, once per call."""
        return lambda images, places: self._score(images, None if prompts is None else prompts[places.start : places.stop])

    @abstractmethod
    def _score(self, images: Any, prompts: list[str] | None) -> Tensor:
        """Scores (B,) of a batch of prepared images."""

    def _batches(self, images: Images, prompts: list[str] | None, size: int, differentiable: bool) -> Iterator[tuple[int, Any]]:
        """Prepared batches and how many images each has; for a reward that prepares images together with their prompts to override."""
        if isinstance(images, Tensor):
            for part in images.split(size) if len(images) else ():
                yield len(part), self.prepare_tensor(part, differentiable)
            return
        prepared = prefetch(lambda image: self.prepare(opened(image)), images, self.workers, ahead=2 * size)
        for few in alike(prepared, size):
            yield len(few), self.collate(few)

    def _match(self, prompts: str | Iterable[str] | None, total: int) -> list[str] | None:
        if prompts is None:
            if self.needs_prompt:
                raise ValueError(f"{type(self).__name__} needs the prompts of the images")
            return None
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        for place, prompt in enumerate(prompts):
            if self.needs_prompt and not _is_text(prompt):
                raise ValueError(f"prompt {place} is no text: {prompt!r}")
        if len(prompts) == 1:
            prompts = prompts * total
        if len(prompts) != total:
            raise ValueError(f"{total} images but {len(prompts)} prompts: give one prompt, or one per image")
        return prompts

    def _check_differentiable(self, images: Images) -> None:
        if not self.differentiable:
            raise ValueError(f"{type(self).__name__} has no gradients with respect to the pixels")
        if not isinstance(images, Tensor):
            raise ValueError(f"gradients flow to a tensor of images (B, 3, H, W) in [0, 1], not to a {type(images).__name__}")


def listed(images: Images) -> Tensor | list[ImageLike]:
    """Images that can be counted.

    Raises:
        ValueError: a tensor of another shape or of whole numbers, one image alone, or something else among the images.
    """
    if isinstance(images, Tensor):
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:] or not images.is_floating_point():
            found = f"{tuple(images.shape)} of {images.dtype}"
            raise ValueError(f"a tensor of images is (B, 3, H, W) in [0, 1], not {found}")
        return images
    if isinstance(images, ImageLike):
        raise ValueError(f"give images in a list, not one {type(images).__name__} alone")
    images = list(images)
    for place, image in enumerate(images):
        if not isinstance(image, ImageLike):
            raise ValueError(f"image {place} is a {type(image).__name__}; give PIL images, paths, or one tensor (B, 3, H, W) in [0, 1]")
    return images


@contextmanager
def own_mode(gradients: bool) -> Iterator[None]:
    """Gradients as asked for, and no autocast of the caller's: a reward says its number format itself."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    kinds = {"cpu"} if accelerator is None else {"cpu", accelerator.type}
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(gradients))
        for kind in kinds:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def distinct(prompts: Iterable[str] | None) -> tuple[list[str], list[int]]:
    """Every prompt once, and for each prompt which of those it is.

    >>> distinct(["b", "a", "b"])
    (['b', 'a'], [0, 1, 0])
    """
    prompts = list(prompts or [])
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    return list(places), [places[prompt] for prompt in prompts]


def _is_text(prompt: Any) -> bool:
    """Whether it is a string that UTF-8 can say; tokenizers fail at half of a surrogate pair, as a careless cut leaves it."""
    try:
        str.encode(prompt)
    except (TypeError, UnicodeEncodeError):
        return False
    return True


def alike(prepared: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Neighbors of one shape together, at most ``size`` of them, and of tensors no more than hold ``LARGEST`` numbers."""
    few: list[Any] = []
    for item in prepared:
        shape = getattr(item, "shape", None)
        full = len(few) == size or (shape is not None and (len(few) + 1) * math.prod(shape) > LARGEST)
        if few and (full or shape != getattr(few[0], "shape", None)):
            yield few
            few = []
        few.append(item)
    if few:
        yield few


def opened(image: ImageLike) -> Image.Image:
    """An image as ``mmalign.images.open_image`` gives it."""
    return open_image(Path(image) if isinstance(image, str) else image)


def to_bytes(image: Image.Image) -> Tensor:
    """An RGB image as a tensor (3, H, W) of its 8 bits."""
    # channels first in memory, too: resizing and convolutions are several times faster there
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as a tensor (3, H, W) in [0, 1]."""
    return to_bytes(image).float().div(255)
