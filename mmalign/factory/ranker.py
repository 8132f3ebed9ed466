"""Tables of preferences from groups of scored pictures."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mmalign.config.rank import LabelsConfig
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.factory.choose import Choice, Judged, choices
from mmalign.factory.labels import Label, agreement, labeller
from mmalign.factory.looks import Look, look, without_duplicates
from mmalign.factory.preferences import Preference, pairs, rankings
from mmalign.factory.requests import prompt_id
from mmalign.factory.scored import Scored
from mmalign.factory.tally import Tally
from mmalign.images import ImageSource
from mmalign.prefetch import prefetch
from mmalign.resumable.progress import Progress
from mmalign.training.order import derived_seed

LEAST_AGREEMENT = 1e-6
"""Weight of a row that no scorer orders as its label does: a weight is above 0."""

ToOpen = tuple[int, ImageSource | UserError, str]
"""A picture's number, what to open or why there is nothing, and its name."""


class Ranker:
    """Makes tables of preferences of groups of pictures.

    Args:
        config: how labels are made and what is kept.
        scored: the pictures.
    """

    def __init__(self, config: LabelsConfig, scored: Scored):
        self.config, self.scored = config, scored
        self._label: Label = labeller(config, scored)
        self._vetoes = torch.tensor([name in config.never_worse for name in scored.names])
        self._directed = torch.from_numpy(scored.scores * scored.directions)

    def table(self, number: int, groups: Sequence[Sequence[int]], workers: int, progress: Progress) -> pa.Table:
        """The rows of some prompts, with their counts in the metadata.

        Args:
            number: of the shard, which decides with the seed where preferred pictures stand.
            groups: the pictures of each prompt.
            workers: threads that open pictures.
            progress: is told of each prompt.
        """
        tally, made = Tally(prompts=len(groups)), list[Preference]()
        ahead = 2 if self.scored.pictures.moving else 2 * workers  # clips are large
        with closing(prefetch(self._looks, self._opened(groups, tally), workers, ahead)) as looked:
            for looks in looked:
                made += self._rows(looks, tally)
                progress.add(1)
        tally.kept = len(made)
        seed = derived_seed(self.config.seed, "side", number)
        table = rankings(made) if self.config.keep == "ranking" else pairs(made, seed)
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **tally.metadata()})

    def _opened(self, groups: Sequence[Sequence[int]], tally: Tally) -> Iterator[list[ToOpen]]:
        """Of each prompt the pictures that have all scores, with what to open."""
        for group in groups:
            tally.pictures += len(group)
            yield [opened for row in group if (opened := self._usable(row, tally)) is not None]

    def _usable(self, row: int, tally: Tally) -> ToOpen | None:
        if (error := self.scored.errors[row]) is not None:
            tally.leave("pictures", error)
            return None
        if not np.isfinite(self.scored.scores[row]).all():
            tally.leave("pictures", "a score is missing")
            return None
        try:
            picture = self.scored.pictures.picture(row)
            return row, picture.image(), picture.name
        except UserError as error:
            return row, error, f"row {row}"

    @staticmethod
    def _looks(opened: Sequence[ToOpen]) -> list[Look]:
        return [look(*each) for each in opened]

    def _rows(self, looks: Sequence[Look], tally: Tally) -> list[Preference]:
        """What one prompt gives."""
        whole = [each for each in looks if each.error is None]
        for each in looks:
            if each.error is not None:
                tally.leave("pictures", "cannot be opened")
                tally.name(each.error)
        kept = without_duplicates(whole, self.config.duplicates)
        tally.leave("pictures", "same as another", len(whole) - len(kept))
        if len(kept) < self.config.min_pictures:
            tally.leave("prompts", f"fewer than {self.config.min_pictures} pictures")
            return []
        return self._chosen(kept, tally)

    def _chosen(self, kept: Sequence[Look], tally: Tally) -> list[Preference]:
        rows = [each.row for each in kept]
        directed = self._directed[rows]
        labels = self._label(torch.from_numpy(self.scored.scores[rows])).double()
        vetoed = ((directed[:, None] < directed[None, :]) & self._vetoes).any(-1)
        judged = Judged(labels, agreement(directed), vetoed)
        for place, row in enumerate(rows):
            tally.credit(self.scored.models[row], labels[place].item(), bool(labels[place] == labels.max()))
        made: list[Preference] = []
        for choice in choices(judged, self.config):
            tally.candidates += 1
            if choice.reason is not None:
                tally.leave("prompts" if self.config.keep == "ranking" else "pairs", choice.reason)
                continue
            taken = [rows[place] for place in choice.places]
            models, seeds = (tuple(values[row] for row in taken) for values in (self.scored.models, self.scored.seeds))
            made.append(Preference(self._example(kept, labels, choice), models, seeds, choice.agreement))
        return made

    def _example(self, kept: Sequence[Look], labels: Tensor, choice: Choice) -> Example:
        prompt = self.scored.prompts[kept[0].row] or ""
        weight = max(choice.agreement, LEAST_AGREEMENT) if self.config.weigh_by_agreement else 1.0
        return Example(
            prompt,
            tuple(kept[place].source for place in choice.places),
            scores=tuple(labels[place].item() for place in choice.places),
            weight=weight,
            origin=f"the prompt {prompt!r}",
            ranking_id=prompt_id(prompt),
        )
