"""One of the two models under comparison: its scores, its timings and the few images worth keeping."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from mmalign.errors import UserError
from mmalign.evaluation.clips import kept
from mmalign.evaluation.diversity import thumbnails
from mmalign.evaluation.sampling import Request, Source
from mmalign.frames import JUDGED, judged, score_clips
from mmalign.reward import Reward


class Side:
    """Draws and scores on demand. ``shown`` and ``compared`` say of which requests to keep an image or a thumbnail.

    Of clips, ``judged_frames`` are scored; ``frames`` tells how many each has, None of pictures.
    """

    def __init__(self, source: Source, shown: set[Request], compared: set[Request], judged_frames: int = JUDGED):
        self.source, self.shown, self.compared, self.judged_frames = source, shown, compared, judged_frames
        self.frames: int | None = None
        self.scores: dict[str, dict[Request, float]] = {}
        self.pictures: dict[Request, np.ndarray] = {}
        self.thumbnails: dict[Request, np.ndarray] = {}
        self.seconds = {"sampling": 0.0, "scoring": 0.0}

    def run(self, requests: Sequence[Request], rewards: Mapping[str, Reward], advance: Callable[[int], object]) -> None:
        """Draw the requests, score them under the rewards, keep what is wanted, drop the rest."""
        mark = time.perf_counter()
        for batch, images in self.source.batches(requests):
            drawn = time.perf_counter()
            self.frames = images.shape[1] if images.ndim == 5 else None
            self._keep(batch, images)
            self._score(batch, images, rewards)
            self.seconds["sampling"] += drawn - mark
            mark = time.perf_counter()
            self.seconds["scoring"] += mark - drawn
            advance(len(batch))

    def table(self, reward: str, draws: Sequence[int]) -> np.ndarray:
        """Scores (P, len(draws)) under a reward."""
        found = self.scores[reward]
        return np.array([[found[Request(prompt, draw)] for draw in draws] for prompt in range(len(self.source.prompts))])

    def missing(self) -> list[Request]:
        """Requests whose image or thumbnail is wanted and not yet kept, in order."""
        return sorted((self.shown - self.pictures.keys()) | (self.compared - self.thumbnails.keys()))

    def _keep(self, batch: list[Request], images: Tensor) -> None:
        few = images if images.ndim == 4 else judged(images, self.judged_frames)
        small = thumbnails(few) if self.compared.intersection(batch) else None
        for row, request in enumerate(batch):
            if request in self.shown:
                self.pictures[request] = kept(images[row])
            if small is not None and request in self.compared:
                self.thumbnails[request] = small[row]

    def _score(self, batch: list[Request], images: Tensor, rewards: Mapping[str, Reward]) -> None:
        prompts = [self.source.prompts[request.prompt] for request in batch]
        for name, reward in rewards.items():
            values = score_clips(reward, judged(images, self.judged_frames), prompts)
            if values.shape != (len(batch),):
                raise ValueError(f"reward {name!r} gave scores of shape {tuple(values.shape)} for {len(batch)} images")
            for request, prompt, value in zip(batch, prompts, values.tolist(), strict=True):
                if not np.isfinite(value):
                    raise UserError(
                        f"reward {name!r} gave {value} for the {self.source.name} image of prompt {request.prompt} ({prompt!r}); "
                        "leave the prompt or the reward out"
                    )
                self.scores.setdefault(name, {})[request] = value
