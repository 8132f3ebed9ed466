"""What an evaluation draws, decided before the first image."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mmalign.config.frames import JUDGED
from mmalign.config.generate import FPS
from mmalign.errors import UserError
from mmalign.evaluation.sampling import Request
from mmalign.evaluation.selection import evenly_spaced
from mmalign.plugins import nearest
from mmalign.reward import Reward


@dataclass(frozen=True)
class Options:
    """Sizes of an evaluation.

    Args:
        batch_size: images drawn at once.
        pictures: prompts shown in the report, spread evenly over all.
        extremes: largest wins shown besides, and as many largest losses.
        diversity_prompts: prompts whose images are compared with one another; 0 leaves diversity out.
        diversity_draws: images per such prompt and side, 2 or more.
        resamples: bootstrap resamples.
        confidence: level of every interval.
        judged_frames: of a clip, how many are scored.
        fps: frames a second that clips are shown with.
    """

    batch_size: int = 16
    pictures: int = 24
    extremes: int = 6
    diversity_prompts: int = 16
    diversity_draws: int = 4
    resamples: int = 10_000
    confidence: float = 0.95
    judged_frames: int = JUDGED
    fps: float = FPS

    def __post_init__(self):
        smallest = {
            "batch_size": 1,
            "pictures": 0,
            "extremes": 0,
            "diversity_prompts": 0,
            "diversity_draws": 2,
            "resamples": 1,
            "judged_frames": 1,
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise UserError(f"evaluation: {name} is {getattr(self, name)}; give {least} or more")
        if not 0 < self.confidence < 1:
            raise UserError(f"evaluation: confidence is {self.confidence}; give a number between 0 and 1, such as 0.95")


@dataclass(frozen=True)
class Plan:
    """Draws 0 to S-1 of a prompt are the comparison, S to 2S-1 the control; diversity takes 0 to D-1 of some prompts."""

    prompts: int
    seeds: int
    options: Options

    @property
    def main(self) -> list[Request]:
        """Drawn by both sides."""
        return [Request(prompt, draw) for prompt in range(self.prompts) for draw in range(self.seeds)]

    @property
    def control(self) -> list[Request]:
        """Drawn by the base alone: the same prompts at other seeds."""
        return [Request(prompt, draw + self.seeds) for prompt, draw in self.main]

    @property
    def shown(self) -> list[int]:
        """Prompts whose first image is shown."""
        return evenly_spaced(self.prompts, self.options.pictures)

    @property
    def compared(self) -> list[int]:
        """Prompts whose images are compared with one another."""
        return evenly_spaced(self.prompts, self.options.diversity_prompts)

    @property
    def diverse(self) -> set[Request]:
        """Drawn by both sides for diversity."""
        return {Request(prompt, draw) for prompt in self.compared for draw in range(self.options.diversity_draws)}

    @property
    def total(self) -> int:
        """Images to draw, the extremes aside."""
        main = set(self.main)
        return 2 * len(main | self.diverse) + len(set(self.control) - self.diverse)


def check(prompts: Collection[str], rewards: Mapping[str, Reward], named: Mapping[str, Collection[str]], seeds_per_prompt: int) -> None:
    """Refuse an evaluation that cannot be made. ``named`` maps an argument to the reward names it uses.

    Raises:
        UserError: no prompt, no seed, a reward that is named and not given, or one that is a vote among images.
    """
    if not prompts:
        raise UserError("the evaluation has no prompt; give at least one, and some hundreds for a narrow interval")
    if seeds_per_prompt < 1:
        raise UserError(f"evaluation: seeds_per_prompt is {seeds_per_prompt}; give 1 or more")
    for name, reward in rewards.items():
        if reward.joint:
            raise UserError(f"reward {name!r} is a vote among the images of one side, which cannot compare two; give its members instead")
    for argument, names in named.items():
        for name in names:
            if name not in rewards:
                raise UserError(f"{argument} names the reward {name!r}, which is not evaluated; {nearest(name, sorted(rewards))}")
