"""Every file in configs/ loads, builds its method, and says what it is, what it costs and where its numbers come from."""

from pathlib import Path

import pytest
from diffusers.optimization import SchedulerType

from mmalign import plugins
from mmalign.config import RunConfig, load_config, yaml_file
from mmalign.objective import policy_of
from mmalign.policy import DenoisingPolicy, ResidualPolicy

FOLDER = Path(__file__).parents[2] / "configs"
ALL = sorted(FOLDER.glob("*.yaml"))
FILES = [path for path in ALL if yaml_file.read(path).keys() >= {"model", "method"}]
GENERATORS = {DenoisingPolicy, ResidualPolicy}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


def test_there_are_configs():
    assert {path.stem for path in FILES} >= {
        "sd15_diffusion_dpo_lora",
        "sd15_diffusion_dpo_full",
        "sdxl_diffusion_dpo_lora",
        "sd3_diffusion_dpo_lora",
    }


def has(families):
    """The methods, those inside others too, that have a configuration of a model of full size for these families."""
    found = set()
    for path in FILES:
        config = load_config(path)
        if config.model.family in families and not path.stem.startswith("shapes"):
            found |= {section.name for section in (config.method, getattr(config.method, "method", None)) if section is not None}
    return found


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3"])
def test_every_method_for_image_generators_has_one_of_full_size_for_every_family(family):
    methods = {name for name in plugins.names("mmalign.objectives") if policy_of(plugins.load("mmalign.objectives", name)) in GENERATORS}
    assert methods | {"diffusion_kto", "rankdpo"} <= has({family})  # these two are for other models too


def test_it_loads_and_its_method_is_built(path):
    config = load_config(path)
    objective = config.method.build()
    assert {name: getattr(objective, name) for name in config.method.fields()} == config.method.fields()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_its_header_says_command_hardware_cost_and_sources(path):
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"mmalign {'train' if path in FILES else ''}" in header
    assert f" configs/{path.name}" in header
    for word in ("Hardware:", "Cost:", "Sources:"):
        assert word in header


def test_its_family_exists_and_its_output_folder_has_its_name(path):
    config = load_config(path)
    assert config.model.family is None or config.model.family in plugins.names("mmalign.pipelines")
    assert config.output_dir == Path("runs") / path.stem


def test_the_schedulers_are_those_of_diffusers():
    names = RunConfig.model_fields["train"].annotation.model_fields["lr_scheduler"].annotation.__args__
    assert set(names) == {kind.value for kind in SchedulerType} - {"piecewise_constant"}
