"""All weights of Qwen-Image in two processes: nothing reads what its last block makes of the text, and nobody waits for its gradient."""

import json

import pytest
from safetensors.torch import load_file

from mmalign import pipelines
from mmalign.config import load_training
from mmalign.errors import UserError
from mmalign.training.run import train
from tests import tiny_families
from tests.fresh import together
from tests.pipelines.restated import side

RESULT = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def made(pairs, tmp_path):
    """Makes configurations, all of steps of four rows, by so many processes."""
    family = pipelines.load(tiny_families.qwen_image())
    family.pipe.save_pretrained(tmp_path / "base")

    def make(out, processes, **settings):
        # where a gradient is next to nothing, Adam would make a step of full length out of its rounding
        settings |= {"adam_epsilon": 1e-2, "learning_rate": 1e-2, "logging_steps": 1, "report_to": "none", "max_train_steps": 2}
        values = {
            "model": {"pretrained": str(tmp_path / "base")},
            "adapter": {"name": "full"},
            "data": {"source": str(pairs), "resolution": side(family), "cache_dir": str(tmp_path / "cache")},
            "method": {"name": "diffusion_dpo", "beta": 50},
            "train": settings | {"train_batch_size": 2 // processes, "gradient_accumulation_steps": 2},
            "output_dir": str(tmp_path / out),
        }
        path = tmp_path / f"{out}.yaml"
        path.write_text(json.dumps(values))
        return str(path)

    return make


def run(rank, path):
    return train(load_training(path, []))


def both(rank, path, other):
    """A run, and one of a family that does not say what is read by nothing."""
    run(rank, path)
    pipelines.load(tiny_families.qwen_image()).__class__.unread = ()
    with pytest.raises(UserError, match=r"depends on transformer_blocks\.1\.attn\.to_add_out\.weight \(6 such in all\)"):
        run(rank, other)


def test_two_processes_are_one_and_a_part_that_nothing_reads_is_named(made, tmp_path):
    one = run(0, made("one", 1))
    together(both, made("two", 2), made("never", 2))
    first, second = (load_file(out / RESULT) for out in (one, tmp_path / "two"))
    before = load_file(tmp_path / "base" / RESULT)
    moved = {name: (first[name] - before[name]).abs().max().item() for name in before}
    assert all(
        moved[name] == 0 for name in moved if name.startswith(("transformer_blocks.1.attn.to_add_out", "transformer_blocks.1.txt_mlp"))
    )
    assert moved["transformer_blocks.0.txt_mlp.net.2.weight"] > 1e-4
    assert max((first[name] - second[name]).abs().max().item() for name in first) < 0.01 * max(moved.values())
