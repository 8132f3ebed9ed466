"""A model that is split within each of two machines is one that is whole: the same weights and numbers, and checkpoints for any number."""

import json

import pytest
from safetensors.torch import load_file
from torch.distributed.checkpoint import FileSystemReader

from mmalign.config import load_training
from mmalign.errors import UserError
from mmalign.training.run import train
from mmalign.training.sharded import SHARDS, processes_of_a_machine
from tests.fresh import together

RESULT = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def made(base, pairs, tmp_path):
    """Makes configurations, all of steps of eight rows in two micro-batches, by so many processes."""

    def make(out, processes, steps, shard):
        # where a gradient is next to nothing, Adam would make a step of full length out of its rounding
        settings = {"adam_epsilon": 1e-2, "learning_rate": 1e-2, "logging_steps": 1, "report_to": "none", "checkpointing_steps": 2}
        settings |= {"max_train_steps": steps, "train_batch_size": 4 // processes, "gradient_accumulation_steps": 2, "ema_decay": 0.5}
        values = {
            "model": {"pretrained": str(base)},
            "adapter": {"name": "full"},
            "data": {"source": str(pairs), "cache_dir": str(tmp_path / "cache")},
            "method": {"name": "diffusion_dpo", "beta": 50},
            "train": settings | {"resume_from_checkpoint": "latest"},
            "speed": {"shard": shard},
            "output_dir": str(tmp_path / out),
        }
        path = tmp_path / f"{out}-{processes}.yaml"
        path.write_text(json.dumps(values))
        return str(path)

    return make


def run(rank, path):
    return train(load_training(path, []))


@pytest.mark.slow
def test_two_machines_of_two_processes_are_one_process(made, base):
    straight = run(0, made("one", 1, 3, False))
    together(run, made("four", 4, 2, "node"), world=4, machines=2)
    metadata = FileSystemReader(straight.with_name("four") / "checkpoint-2" / SHARDS).read_metadata()
    parts = {len(found.chunks) for name, found in metadata.state_dict_metadata.items() if name.startswith("trained.") and found.size[0] > 1}
    assert parts == {2}
    other = run(0, made("four", 1, 3, "node"))

    first, second = (load_file(out / RESULT) for out in (straight, other))
    before = load_file(base / RESULT)
    moved = max((first[name] - before[name]).abs().max().item() for name in before)
    assert max((first[name] - second[name]).abs().max().item() for name in first) < 0.01 * moved
    assert moved > 1e-3
    lines = [[json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()] for out in (straight, other)]
    assert [line["step"] for line in lines[1]] == [1, 2, 3]
    for left, right in zip(*lines, strict=True):
        assert left == pytest.approx(right, rel=5e-3, abs=1e-4)


def test_machines_must_have_as_many_processes_each(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert processes_of_a_machine(4) == 2
    with pytest.raises(UserError, match="as many processes on every machine, and here are 2 of 5"):
        processes_of_a_machine(5)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    with pytest.raises(UserError, match="how many processes a machine has"):
        processes_of_a_machine(4)
