"""What other trainers call a key is answered by ours."""

import pytest

from mmalign.cli import main
from mmalign.config import LoraAdapterConfig, RunConfig, TrainConfig, from_mapping
from mmalign.config.called import OURS
from mmalign.errors import UserError

VALUES = {"model": {"pretrained": "x"}, "data": {"source": "x"}, "method": {"name": "diffusion_dpo"}, "output_dir": "x"}


@pytest.mark.parametrize(
    ("section", "key", "wanted"),
    [
        ("train", "lr", "learning_rate"),
        ("adapter", "r", "rank"),
        ("model", "model_name_or_path", "pretrained"),
        ("data", "dataset_name", "source"),
    ],
)
def test_a_key_of_a_file_by_another_name(section, key, wanted):
    values = VALUES | {section: {**VALUES.get(section, {"name": "lora"} if section == "adapter" else {}), key: 1}}
    with pytest.raises(UserError, match=f"unknown key '{section}.{key}'; did you mean '{wanted}'"):
        from_mapping(values, RunConfig)


def test_every_name_leads_to_a_key():
    keys = {*TrainConfig.model_fields, *LoraAdapterConfig.model_fields, "beta", "pretrained", "source", "split", "steps"}
    assert set(OURS.values()) <= keys


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--train.lr", "1e-4"], "unknown option '--train.lr'; did you mean '--train.learning-rate'?"),
        (["--dry-rn"], "unknown option '--dry-rn'; did you mean '--dry-run'?"),
        (["--dryrun"], "unknown option '--dryrun'; did you mean '--dry-run'?"),
    ],
)
def test_an_option_by_another_name(tmp_path, capsys, words, said):
    place = tmp_path / "c.yaml"
    place.write_text("model: {pretrained: x}\ndata: {source: x}\nmethod: {name: diffusion_dpo}\noutput_dir: x\n")
    assert main(["train", str(place), *words]) == 2
    assert said in capsys.readouterr().err
