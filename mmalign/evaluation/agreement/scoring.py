"""Scores of the images of examples, taken from disk where they were given before."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

from PIL import Image
from tqdm import tqdm

from mmalign.data import Example, open_image
from mmalign.errors import UserError
from mmalign.evaluation.agreement.saved_scores import SavedScores, key_of
from mmalign.prefetch import prefetch
from mmalign.reward import Reward

OnBroken = Literal["raise", "skip"]
_IMAGES = 64  # opened and handed to a reward at once, so that its batches are full
_AHEAD = 16  # examples whose images are opened before their turn


class _Opened(NamedTuple):
    """An example's place and key, with its images unless its scores are known; ``error`` where one cannot be read."""

    place: int
    key: str
    prompt: str
    images: list[Image.Image]
    error: UserError | None = None


def score_examples(
    reward: Callable[[], Reward],
    examples: Sequence[Example],
    saved: SavedScores,
    on_broken: OnBroken = "raise",
    bar: str | None = None,
) -> list[tuple[float, ...] | None]:
    """K scores for each example, in the units of the reward; NaN where it gave none, None where an image cannot be read.

    Images of one example are scored in one call. What was scored is saved even if the run is broken off.

    Args:
        reward: builds the reward, which is called only if there is something to score.
        on_broken: stop at an image that cannot be read, or leave its example out.
        bar: what the bar is called; None = none is shown.

    Raises:
        UserError: an image cannot be read and ``on_broken`` is "raise", or the reward refuses an example, or returns another number of
            scores than asked for.
        KeyboardInterrupt: with a message that says where the scores so far are.
    """
    results: list[tuple[float, ...] | None] = [None] * len(examples)
    scorer: Reward | None = None
    # on a terminal only
    progress = tqdm(total=len(examples), desc=bar, unit="row", disable=True if bar is None else None)
    try:
        for few in _batches(_opened(examples, saved, results, progress)):
            if few[0].error and on_broken == "raise":
                raise few[0].error
            if few[0].error is None:
                scorer = scorer or reward()
                # a vote is among the images of one example, not of all that share its prompt
                for part in ([item] for item in few) if scorer.joint else (few,):
                    _score(scorer, part, saved, results)
            progress.update(len(few))
    except KeyboardInterrupt as stopped:
        where = f"the scores so far are in {saved.path}, and the same command goes on from there" if len(saved) else "nothing is scored yet"
        raise KeyboardInterrupt(f"stopped; {where}") from stopped
    finally:
        progress.close()
        saved.save()
    return results


def _opened(examples: Sequence[Example], saved: SavedScores, results: list, progress: tqdm) -> Iterator[_Opened]:
    """The examples that have to be scored, opened in threads; the places of the others are filled."""

    def missing() -> Iterator[tuple[int, str, Example]]:
        for place in range(len(examples)):
            example = examples[place]
            key = key_of(example)
            known = saved.get(key)
            if known is not None and len(known) == len(example.images):
                results[place] = known
                progress.update()
            else:
                yield place, key, example

    return prefetch(lambda item: _open(*item), missing(), workers=2, ahead=_AHEAD)


def _open(place: int, key: str, example: Example) -> _Opened:
    try:
        return _Opened(place, key, example.prompt, [open_image(source, example.origin) for source in example.images])
    except UserError as error:
        return _Opened(place, key, example.prompt, [], error)


def _batches(items: Iterator[_Opened]) -> Iterator[list[_Opened]]:
    """Examples together until they have enough images; one that cannot be opened is alone."""
    few: list[_Opened] = []
    for item in items:
        if few and (item.error or sum(len(one.images) for one in few) + len(item.images) > _IMAGES):
            yield few
            few = []
        if item.error:
            yield [item]
        else:
            few.append(item)
    if few:
        yield few


def _score(reward: Reward, few: list[_Opened], saved: SavedScores, results: list[tuple[float, ...] | None]) -> None:
    images = list(chain.from_iterable(item.images for item in few))
    prompts = [item.prompt for item in few for _ in item.images]
    try:
        scores = reward.score(images, prompts).tolist()
    except ValueError as error:
        if len(few) == 1:
            raise UserError(f"{type(reward).__name__} cannot score row {few[0].place} ({few[0].prompt!r}): {error}") from error
        for item in few:  # which of them it is
            _score(reward, [item], saved, results)
        return
    if len(scores) != len(images):
        raise UserError(f"{type(reward).__name__} gave {len(scores)} scores for {len(images)} images; it should give one for each")
    start = 0
    for item in few:
        results[item.place] = tuple(scores[start : start + len(item.images)])
        start += len(item.images)
        saved.put(item.key, results[item.place])
