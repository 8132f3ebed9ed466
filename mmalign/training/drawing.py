"""Rows whose pictures or clips the model draws: drawn, scored, put in order and encoded, each under a key that follows from how it is made.

What is drawn for a row depends on the run's seed and the row's position in the stream alone, so that neither the number of processes nor
a resume changes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from mmalign.candidates import Label, best_and_worst, ranked, scored, weighted
from mmalign.config import OnlineConfig
from mmalign.config.generate import FPS
from mmalign.data.apng import apng
from mmalign.data.cache import TensorCache
from mmalign.data.digest import digest
from mmalign.data.fingerprint import fingerprint
from mmalign.data.schema import Example
from mmalign.diffusion.draw import eight_bits, to_image
from mmalign.errors import UserError
from mmalign.images import ImageSource
from mmalign.objective import Objective
from mmalign.training.dataset import Row
from mmalign.training.encoder import Encoder
from mmalign.training.order import derived_seed
from mmalign.training.preferences import check_scores, ranks_of

AT_ONCE = 16  # rows between two savings: what a kill can lose


@dataclass(frozen=True)
class Request:
    """A row whose pictures are wanted.

    Attributes:
        position: its place in the stream.
        prompt: what is drawn.
        base: the row of the data that it completes.
    """

    position: int
    prompt: str
    base: Row


@dataclass(frozen=True)
class Drawn:
    """What became of a request.

    Attributes:
        row: the row to train on.
        rewards: (draws, number of rewards), not a number where a picture got no score.
        counts: whether the pictures differ in their label; else the row has the weight 0.
    """

    row: Row
    rewards: Tensor
    counts: bool


class Drawer:
    """Draws, scores and encodes.

    Args:
        encoder: the encoders of the family, whose denoiser is as it was before training, with the resolution that is drawn and trained at.
        online: how many pictures, how they are drawn, and what becomes of them.
        objective: the method that they are for.
        seed: the run's seed.
    """

    def __init__(self, encoder: Encoder, online: OnlineConfig, objective: Objective, seed: int):
        self.encoder, self.online, self.objective, self.seed = encoder, online, objective, seed
        self.labels = built_labels(online)
        family = encoder.family
        sampler = [type(family.pipe).__name__, type(family.pipe.scheduler).__name__, dict(family.pipe.scheduler.config)]
        said = online.model_dump(mode="json", exclude={"refresh_steps", "member", "reference", "batch_size"})
        self._base = digest("drawn", fingerprint([family.denoiser]), sampler, encoder.image_base, encoder.prompt_base, said, seed)

    def draw(self, cache: TensorCache, member: str, requests: Sequence[Request], bar: tqdm) -> list[Drawn]:
        """The rows of requests, in their order. What the cache has is not drawn again.

        A round's requests must come in the same parts however often they are asked for: pictures drawn together differ in their last bits
        from those drawn alone.

        Args:
            cache: takes what is drawn in, a part at a time.
            member: a digest of the model that draws.
            requests: of one part.
            bar: counts pictures.
        """
        keys = [digest(self._base, member, request.position, request.prompt) for request in requests]
        if cache.missing(keys):
            cache.put(self._made(keys, requests))
        bar.update(len(requests) * self.online.draws)
        records = [cache.get(key) for key in keys]
        return [
            Drawn(self._row(request, key, record), record["rewards"], bool(record["counts"]))
            for request, key, record in zip(requests, keys, records, strict=True)
        ]

    def _made(self, keys: Sequence[str], requests: Sequence[Request]) -> dict[str, dict[str, Tensor]]:
        """The entries of a part: of each row what was drawn and how it was judged, and the pictures that are kept, encoded."""
        # clips take the memory of a hundred pictures: those of one row are in it at a time
        size = len(requests) if self.encoder.frames is None else 1
        entries: dict[str, dict[str, Tensor]] = {}
        for start in range(0, len(requests), size):
            entries |= self._made_together(keys[start : start + size], requests[start : start + size])
        return entries

    def _made_together(self, keys: Sequence[str], requests: Sequence[Request]) -> dict[str, dict[str, Tensor]]:
        pictures = self._pictures(requests)
        entries, kept = {}, []
        for key, request, group in zip(keys, requests, pictures, strict=True):
            record = self._judged(request.prompt, group)
            images = tuple(self._source(group[place]) for place in record["order"])
            kept.append((self._row(request, key, record, alone=True), Example(request.prompt, images)))
            entries[key] = record
        return entries | self.encoder.images(kept)

    def _source(self, picture: Tensor) -> ImageSource:
        """A picture (3, H, W) uint8 as what the encoder reads; a clip (F, 3, H, W) as a file at the pace that it is read with."""
        if picture.ndim == 3:
            return to_image(picture)
        return apng([to_image(frame) for frame in picture], self.encoder.config.fps or FPS, level=1)

    def _pictures(self, requests: Sequence[Request]) -> Tensor:
        """Pictures (rows, draws, 3, H, W), or clips (rows, draws, F, 3, H, W), uint8: what is scored and trained on has eight bits."""
        draws, side = self.online.draws, self.encoder.resolution
        prompts = [request.prompt for request in requests for _ in range(draws)]
        seeds = [derived_seed(self.seed, "online", request.position, draw) for request in requests for draw in range(draws)]
        call: dict[str, Any] = {key: getattr(self.online, key) for key in ("batch_size", "num_inference_steps", "guidance_scale")}
        size = self.encoder.family.sized(side, side, self.encoder.frames)
        drawn = self.encoder.family.sample(prompts, seeds, **size, **call)
        if not drawn.isfinite().all():
            prompt = prompts[int((~drawn.isfinite()).flatten(1).any(1).nonzero()[0])]
            raise UserError(f"the model drew a picture that is not a number for the prompt {prompt!r}; lower train.learning_rate")
        return eight_bits(drawn).unflatten(0, (len(requests), draws))

    def _judged(self, prompt: str, pictures: Tensor) -> dict[str, Tensor]:
        """Of a row's pictures: scores (draws, number of rewards), the places kept, best first, their labels, and whether they count."""
        if self.online.keep == "opponent":
            return {"rewards": torch.empty(1, 0), "order": torch.zeros(1, dtype=torch.long), "counts": torch.tensor(True)}
        rewards = scored(pictures, prompt, self.labels, self.online.judged_frames).cpu()
        choose = ranked if self.online.keep == "ranking" else best_and_worst
        order = choose(rewards, self.labels, self.online.min_gap)
        places = torch.tensor(order or (0, 1))
        scores = weighted(rewards, self.labels)[places] if order else torch.zeros(2)
        return {"rewards": rewards, "order": places, "scores": scores, "counts": torch.tensor(order is not None)}

    def _row(self, request: Request, key: str, record: Mapping[str, Tensor], alone: bool = False) -> Row:
        """The row with its drawn pictures, after those of the data; ``alone`` = the drawn ones only, whatever the method takes."""
        places = record["order"].tolist()
        if self.objective.takes == "winners" and not alone:
            places = places[:1]
        images, flipped = self.encoder.image_keys([digest(key, place) for place in places])
        base = request.base
        said: dict[str, Any] = {"weight": base.weight * float(record["counts"]), "origin": f"the pictures of {base.origin}"}
        if alone:
            return Row(base.prompt, images, flipped, **said)
        if "scores" in record:
            scores = tuple(record["scores"].tolist()[: len(places)])
            example = Example(request.prompt, (b"",) * len(places), scores=scores, origin=said["origin"])
            check_scores(self.objective, example)
            said |= {"scores": scores, "ranks": tuple(ranks_of(example))}
        return Row(base.prompt, base.images + images, base.flipped + flipped, **said)


def built_labels(online: OnlineConfig) -> dict[str, Label]:
    """The rewards of a configuration with their parts in the label, by title."""
    return {
        reward.title: Label(reward.build(), online.weights.get(reward.title, 1.0), reward.title in online.never_worse)
        for reward in online.rewards
    }
