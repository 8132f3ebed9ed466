"""What a process holds of a split run: the estimate against its own parts, and a dry run that tells it once."""

import json
from dataclasses import asdict

import pytest
import torch
from accelerate import Accelerator

from mmalign import pipelines
from mmalign.config import FullConfig, TrainConfig, load_training
from mmalign.training import step_memory
from mmalign.training.diffusion import split
from mmalign.training.memory import estimate
from mmalign.training.run import train
from mmalign.training.sharded import is_sharded, own
from mmalign.training.split_memory import Split, bytes_of, gradients_in_parts, room_for, whole_at_once
from mmalign.training.trainable import trainable
from tests import tiny
from tests.fresh import together
from tests.training.test_memory import OBJECTIVE, inputs


class Model(torch.nn.Module):
    """Two blocks, one of them frozen, and something beside them."""

    _no_split_modules = ("Linear",)

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(10, 10, bias=False), torch.nn.Linear(10, 5, bias=False).requires_grad_(False)
        self.beside = torch.nn.Parameter(torch.ones(7))

    def forward(self, numbers):
        return self.last(self.first(numbers)).sum() * self.beside.sum()


def test_what_is_whole_at_one_time_is_the_rest_and_the_largest_blocks_with_their_gradients():
    assert whole_at_once([Model()], Split()) == 0
    assert whole_at_once([Model()], Split(weights=2)) == 7 * 4 + 2 * (100 + 2 * 100) * 4
    assert whole_at_once([Model(), Model().requires_grad_(False)], Split(weights=2)) == 2 * 7 * 4 + 2 * (100 + 2 * 100) * 4


def test_gradients_are_kept_in_parts():
    model = Model()
    with gradients_in_parts(model, Split(weights=3, gradients=3)) as kept:
        model(torch.ones(2, 10)).backward()
        assert [tensor.numel() for tensor in kept] == [34]
    assert model.first.weight.grad is None
    assert model.beside.grad.shape == (7,)
    with gradients_in_parts(model, Split(gradients=2)) as kept:  # whole weights, as under DeepSpeed
        model(torch.ones(2, 10)).backward()
        assert sorted(tensor.numel() for tensor in kept) == [4, 50]
    assert bytes_of(room_for([model.first.weight, model.beside], Split(gradients=2))) == (50 + 4) * 4


def compared(rank, whole):
    """The estimate of a split model, against that of a whole one and what this process has."""
    Accelerator(cpu=True)
    family, trained = trained_sd()
    split(trained, within_node=False)
    found = estimated((family, trained), Split(2, 2, 2))
    for module, said in ((trained.module, found.weights), (trained.reference.module, found.reference)):
        assert said == pytest.approx(bytes_of(map(own, module.parameters())), rel=0.05)
        assert sum(map(is_sharded, module.modules())) > 4
    assert [found.weights, found.gradients, found.optimizer] == [whole[name] // 2 for name in ("weights", "gradients", "optimizer")]
    assert found.activations == pytest.approx(whole["activations"], rel=0.2)
    assert 0 < found.gathered < whole["weights"]
    trained.module(torch.randn(1, 4, 8, 8), torch.tensor([1]), torch.randn(1, 4, tiny.WIDTH))  # it is split as before


def test_the_estimate_of_a_split_model_is_that_of_a_whole_one_in_parts():
    together(compared, asdict(estimated(trained_sd(), Split())))


def trained_sd():
    family = pipelines.load(tiny.sd())
    return family, trainable(family, FullConfig(), 0)


def estimated(made, parts):
    family, trained = made
    return estimate(family, trained.module, trained.reference, OBJECTIVE, inputs("sd", 16), TrainConfig(), "cpu", split=parts)


def dry(rank, *paths):
    """Dry runs that tell the memory of models that are as small as this one."""
    step_memory.LARGE = 0
    for path in paths:
        train(load_training(path, []), dry_run=True)
        if rank == 0:
            print("=")


def test_a_dry_run_of_several_processes_is_told_once_and_for_each(base, pairs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(step_memory, "LARGE", 0)

    def made(processes, shard):
        values = {
            "model": {"pretrained": str(base)},
            "adapter": {"name": "full"},
            "data": {"source": str(pairs)},
            "method": {"name": "diffusion_dpo", "beta": 50},
            "train": {"train_batch_size": 4 // processes, "report_to": "none", "max_train_steps": 1},
            "speed": {"shard": shard},
            "output_dir": str(tmp_path / "out"),
        }
        path = tmp_path / f"{processes}{shard}.yaml"
        path.write_text(json.dumps(values))
        return str(path)

    dry(0, made(1, False))
    alone = told(capsys.readouterr().out)
    copies, parts, _ = together(dry, made(2, False), made(2, True)).split("=\n")
    for printed in (copies, parts):
        said = told(printed)
        assert said.keys() == alone.keys()
        assert "each process" in said["memory on GPU"]
        assert "of this process" in said["memory"]
        assert ("gathered" in said["memory on GPU"]) == (printed is parts)
        assert numbers(said) == pytest.approx(numbers(alone), rel=2e-3, abs=1e-4)
    assert not (tmp_path / "out").exists()


def told(printed):
    """Lines by their beginnings, each of which is there once."""
    lines = [line for line in printed.splitlines() if line[:15].strip() and line[14:15] == " "]
    said = {line[:15].strip(): line[15:] for line in lines}
    assert len(said) == len(lines)
    return said


def numbers(said):
    """Those of the first step."""
    return {name: float(value) for name, value in (part.rsplit(" ", 1) for part in said["first step"].split(", "))}
