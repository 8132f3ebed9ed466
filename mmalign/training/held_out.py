"""The accuracy of a scorer on preferences that it is not trained on, at intervals of its training."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm.auto import tqdm

from mmalign.config import HeldOutConfig
from mmalign.errors import UserError
from mmalign.scorers.policy import ScorerBatch, ScorerPolicy
from mmalign.training.loader import read_ahead
from mmalign.training.log import RunLog
from mmalign.training.loop import Run
from mmalign.training.scorer_data import Collate, ScorerRows

ACCURACY, MARGIN = "eval_rewards/accuracies", "eval_rewards/margins"


def pair_sums(logits: Tensor, ranks: Tensor) -> Tensor:
    """Of all pairs in which one is ranked above the other: how many have the higher logit there, equal ones half; summed margins; number.

    Args:
        logits, ranks: (B, K).

    Returns:
        The three numbers, float64.

    >>> pair_sums(torch.tensor([[3.0, 1.0, 1.0]]), torch.tensor([[0, 1, 2]]))
    tensor([2.5000, 4.0000, 3.0000], dtype=torch.float64)
    """
    margins = (logits[:, :, None] - logits[:, None, :])[ranks[:, :, None] < ranks[:, None, :]].double()
    right = (margins > 0).double() + 0.5 * (margins == 0).double()
    return torch.stack([right.sum(), margins.sum(), torch.full((), len(margins), dtype=torch.float64, device=margins.device)])


class HeldOut:
    """Logs and shows the share of pairs in the right order, without ties in the labels: before the first step, at intervals, at the end.

    Averaged weights are measured, where there are any. All processes take part.

    Args:
        run: the run.
        rows: the preferences to measure on, of any numbers of candidates.
        collate: makes batches of them.
        config: how often, and how many rows at once.
    """

    def __init__(self, run: Run, rows: ScorerRows, collate: Collate, config: HeldOutConfig):
        self.run, self.rows, self.collate, self.config = run, rows, collate, config

    def __call__(self, step: int, log: RunLog) -> None:
        last = self.run.config.max_train_steps
        if step in (0, last) or (self.config.steps and step % self.config.steps == 0):
            measured = self.measure()
            log.write(step, measured)
            if self.run.accelerator.is_main_process:
                share, margin = 100 * measured[ACCURACY], measured[MARGIN]
                tqdm.write(f"step {step}: {share:.1f}% of the held-out pairs in the right order, mean margin {margin:.4g}")

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Accuracy and mean margin of now. Raises UserError where no pair is decided."""
        accelerator = self.run.accelerator
        # a wrapper for several processes would wait for forwards that other processes do not make
        policy = ScorerPolicy(accelerator.unwrap_model(self.run.policy.module))
        sums = torch.zeros(3, dtype=torch.float64, device=accelerator.device)
        with self.run.averaged():
            for batch in self._batches(accelerator.process_index, accelerator.num_processes):
                batch = batch.to(accelerator.device)
                sums += pair_sums(policy.logps(batch), batch.ranks)
        right, margins, pairs = accelerator.reduce(sums, reduction="sum").tolist()
        if not pairs:
            raise UserError("evaluation.source has no pair in which one image is preferred; give other preferences")
        return {ACCURACY: right / pairs, MARGIN: margins / pairs}

    def _batches(self, rank: int, world: int) -> Iterator[ScorerBatch]:
        size, run = self.config.batch_size, self.run
        items = [[(row, row) for row in range(start, min(start + size, len(self.rows)))] for start in range(0, len(self.rows), size)]
        make: Callable = self.collate.groups
        for groups in read_ahead(
            self.rows, items[rank::world], make, run.config.dataloader_num_workers, run.accelerator.device.type == "cuda"
        ):
            yield from groups
