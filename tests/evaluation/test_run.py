"""An evaluation from its configuration."""

import json

import pytest

from mmalign import pipelines
from mmalign.config import EvaluateConfig, LoraAdapterConfig, RunConfig, from_mapping, save_resolved
from mmalign.evaluation import run as run_module
from mmalign.evaluation.run import run
from mmalign.training.trainable import LoraTraining
from tests import tiny


@pytest.fixture
def config(tmp_path):
    pipe = tiny.sdxl()
    pipe.save_pretrained(tmp_path / "base")
    LoraTraining(pipelines.load(pipe), LoraAdapterConfig(rank=2), seed=1).save(tmp_path / "run")
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    places = {"pretrained": "base", "adapter_path": "run", "prompts": "prompts.txt", "output_dir": "report"}
    values = {key: str(tmp_path / name) for key, name in places.items()}
    said = {"rewards": ["colorfulness"], "aligned_to": "colorfulness", "num_inference_steps": 2}
    return from_mapping(values | said, EvaluateConfig)


def test_a_run_on_a_model_of_few_steps_is_drawn_as_it_was_trained(config):
    assert run_module.model_of(config).timesteps is None
    values = {
        "model": {"pretrained": "x", "timesteps": [249, 499, 749, 999]},
        "data": {"source": "pairs"},
        "method": {"name": "diffusion_dpo"},
    }
    save_resolved(from_mapping(values | {"output_dir": "x"}, RunConfig), config.adapter_path / "config.yaml")
    model = run_module.model_of(config)
    assert (model.timesteps, model.pretrained) == ([249, 499, 749, 999], config.pretrained)
    assert pipelines.configured(model).settled(config).guidance_scale == 0


def test_the_report_has_the_numbers_that_were_drawn_with(config):
    page = run(config)
    assert config.guidance_scale is None
    said = json.loads((page.parent / "report.json").read_text())["config"]
    assert (said["num_inference_steps"], said["guidance_scale"]) == (2, 5.0)
    assert "guidance_scale" in page.read_text()
