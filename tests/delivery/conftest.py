"""Folders as runs leave them, on tiny pipelines, with updates large enough to be seen."""

import pytest
import torch

from mmalign import pipelines
from mmalign.config import LoraAdapterConfig, from_mapping, save_resolved
from mmalign.training.lora import LoraTraining
from tests.tiny_families import EVERY

CONVOLUTIONS = ["to_k", "to_q", "to_v", "to_out.0", "conv1", "conv2", "time_emb_proj", "proj_in", "ff.net.0.proj", "ff.net.2"]


def picture(pipe):
    """A picture (3, H, W) in [0, 1] in two steps, from noise of its own."""
    family = pipelines.load(pipe)
    return family.sample(["a red circle"], [3], num_inference_steps=2, guidance_scale=2.0)[0]


def opened(run):
    """The base of a run, as a process that knows only the stock libraries opens it."""
    return pipelines.open_pipeline(run.parent / "base")


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """Makes the folder of a run with a random LoRA on a tiny pipeline; the base lies beside it."""

    def make(name, **adapter):
        place = tmp_path_factory.mktemp(name)
        pipe = EVERY[name]()
        pipe.save_pretrained(place / "base")
        family = pipelines.load(pipe)
        trained = LoraTraining(family, LoraAdapterConfig(**{"rank": 4, "alpha": 6.0} | adapter), seed=1)
        generator = torch.Generator().manual_seed(2)
        for parameter_name, parameter in trained.module.named_parameters():
            if "lora_B" in parameter_name:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
            if "magnitude" in parameter_name:
                parameter.data = parameter.data * (1 + 0.3 * torch.rand(parameter.shape, generator=generator))
        out = place / "run"
        out.mkdir()
        trained.save(out)
        (out / "README.md").write_text("a card")
        save_resolved(configuration(place), out / "config.yaml")
        return out

    return make


def configuration(place):
    return from_mapping(
        {
            "model": {"pretrained": str(place / "base")},
            "data": {"source": "pairs.parquet"},
            "method": {"name": "diffusion_dpo"},
            "output_dir": str(place / "run"),
        }
    )
