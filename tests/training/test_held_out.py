"""The measured accuracy against a count by hand, for lists of several lengths, ties and averaged weights."""

import json
from dataclasses import replace

import pytest
import torch

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.training.held_out import pair_sums
from mmalign.training.run import train
from tests.training.conftest import graded


def test_pairs_by_hand():
    logits = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 5.0]])
    ranks = torch.tensor([[0, 1, 2], [0, 1, 1]])
    # first: 3>1, 3>2 right, 1>2 wrong; second: 1=1 half, 1>5 wrong, the last two are tied
    assert pair_sums(logits, ranks).tolist() == [2.5, (2 + 1 - 1) + (0 - 4), 5]


def test_it_is_the_accuracy_of_the_reward_over_all_pairs(scorer_run, bases, capsys):
    held_out = [*graded(5), *graded(4, candidates=3, seed=2), *graded(3, seed=3)]
    config = scorer_run(evaluation={"batch_size": 4}, train={"max_train_steps": 1})
    line = json.loads((train(config, held_out=held_out) / "metrics.jsonl").read_text().splitlines()[0])
    scorer = rewards.load("pickscore", pretrained=str(bases["clip"]), device="cpu")
    margins = []
    for example in held_out:
        scores = scorer.score(list(example.images), example.prompt).tolist()
        margins += [scores[i] - scores[j] for i in range(len(scores)) for j in range(i + 1, len(scores))]
    assert line["step"] == 0
    assert line["eval_rewards/accuracies"] == sum(margin > 0 for margin in margins) / len(margins)
    assert line["eval_rewards/margins"] == pytest.approx(sum(margins) / len(margins), rel=1e-4, abs=1e-4)
    said = f"step 0: {100 * line['eval_rewards/accuracies']:.1f}% of the held-out pairs in the right order, mean margin "
    assert sum(said in shown for shown in capsys.readouterr().out.splitlines()) == 1


def test_averaged_weights_are_measured_and_saved(scorer_run):
    held_out = graded(8)
    config = scorer_run(train={"ema_decay": 0.5, "learning_rate": 1e-2})
    out = train(config, held_out=held_out)
    last = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()][-1]
    scorer = rewards.load("pickscore", pretrained=str(out), device="cpu")
    margins = [left - right for left, right in (scorer.score(list(e.images), e.prompt).tolist() for e in held_out)]
    assert last["eval_rewards/margins"] == pytest.approx(sum(margins) / len(margins), rel=1e-4, abs=1e-3)


def test_without_a_decided_pair_there_is_nothing_to_measure(scorer_run):
    with pytest.raises(UserError, match="evaluation.source"):
        train(scorer_run(), held_out=[replace(example, preference=0.5) for example in graded(2)])
