"""What the doctor finds, on this machine and on ones that are made up."""

import json
import shutil
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

from mmalign.cli import main
from mmalign.config.shipped import preset
from mmalign.doctor import kernels, machine, report, versions
from mmalign.doctor.check import Check, tried

ROOT = Path(__file__).parents[2]


def test_what_is_needed_is_what_the_project_depends_on():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert list(versions.NEEDED) == [name.partition(">=")[0] for name in wanted]


def test_the_tested_versions_are_those_of_the_constraints():
    assert versions.TESTED.resolve() == ROOT / "constraints.txt"
    assert versions.tested()["torch"] == next(line[7:] for line in versions.TESTED.read_text().splitlines() if line.startswith("torch=="))


@pytest.mark.parametrize(
    ("version", "status", "said"),
    [
        ("2.15.9+cu132", "ok", "2.15.9+cu132"),
        ("2.14.1", "note", "2.14.1, older than the tested 2.15.0"),
        ("3.0", "note", "3.0, newer than the tested 2.15.0"),
    ],
)
def test_a_version_is_held_against_the_tested_one(monkeypatch, version, status, said):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    found = versions.of_package("torch", "2.15.0")
    assert (found.status, found.said) == (status, said)


def test_a_missing_package_is_a_failure_and_ends_in_an_error(monkeypatch, capsys):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "fail  torch" in said
    assert "mmalign does not run here" in said
    assert "note  gradio" in said


def test_the_command_says_all_and_shows_no_token(monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert main(["doctor", "--json"]) == 0
    text = capsys.readouterr().out
    found = {check["name"]: check for check in json.loads(text)["checks"]}
    assert json.loads(text)["runs"] is True
    assert {"python", "torch", "memory", "hub cache", "hub", "attention sdpa", "xformers", "bitsandbytes"} <= set(found)
    assert found["hub"]["said"] == "a token is there"
    assert found["attention sdpa"]["status"] == "ok"
    assert "hf_secret" not in text


def test_a_gpu_that_torch_cannot_use_is_told_with_its_driver(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "driver", lambda: "470.1")
    (found,) = machine.gpus()
    assert found.status == "note"
    assert "driver 470.1, but torch cannot use it" in found.said
    monkeypatch.setattr(machine, "driver", lambda: None)
    assert "none" in next(machine.gpus()).said


def test_a_gpu_is_told_with_its_memory_and_what_it_lacks(monkeypatch):
    card = SimpleNamespace(name="NVIDIA Tesla T4", total_memory=16 * 2**30, major=7, minor=5)
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "get_device_properties": card,
        "mem_get_info": (15 * 2**30, 16 * 2**30),
        "is_bf16_supported": False,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    monkeypatch.setattr(machine, "driver", lambda: "580.1")
    (found,) = machine.gpus()
    assert "NVIDIA Tesla T4, 16.0 GiB (15.0 free), compute capability 7.5, no bf16" in found.said
    assert "fp16" in found.remedy


def test_little_space_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=3 * 2**30))
    assert machine.disk("cache", tmp_path / "not" / "there", 20, "move it") == Check(
        "cache", "note", f"only 3 GiB free at {tmp_path / 'not' / 'there'}", "move it"
    )
    assert machine.disk("cache", tmp_path, 2, "move it").status == "ok"


def test_what_fails_when_it_is_tried_is_no_failure_of_mmalign():
    def missing():
        raise ModuleNotFoundError("No module named 'xformers'", name="xformers")

    def broken():
        raise RuntimeError("no kernel image is available. More")

    assert tried("xformers", missing, "leave it") == Check("xformers", "note", "not installed", "leave it")
    assert tried("xformers", broken, "leave it").said == "does not work here: no kernel image is available"
    assert report.runs([tried("xformers", broken, "leave it")])


def test_sdpa_is_called_forward_and_backward():
    found = {check.name: check for check in kernels.checks()}
    assert found["attention sdpa"].said.endswith("forward and backward")


def test_the_lines_fit_the_terminal_and_hold_the_remedies():
    checks = [Check("torch", "ok", "2.15.0"), Check("gpu", "note", "none " * 40, "buy one " * 20)]
    lines = list(report.told(checks, 80))
    assert max(map(len, lines)) <= 80
    assert lines[0] == "ok    torch  2.15.0"
    assert any(line.startswith("      -> buy one") for line in lines)
    assert lines[-1] == "mmalign runs here; 1 things to know."


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([], "To start: `mmalign demo` does the whole job on the embedded world."),
        ([8_232_108_032], "To start: `mmalign demo` does the whole job on the embedded world."),
        ([25_393_692_672], "`mmalign configs copy sdxl --memory 25` is a run on SDXL that fits this GPU."),  # an RTX 4090's 23.6 GiB
        ([12_621_709_312, 85_094_825_984], "`mmalign configs copy sdxl --memory 85`"),  # 11.8 GiB, and an A100's 79.3
    ],
)
def test_the_first_step_fits_the_machine(monkeypatch, sizes, said):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(sizes))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=sizes[number]))
    assert said in machine.first_step()
    if "--memory" in said:
        assert preset("sdxl", int(said.rpartition("--memory ")[2].partition("`")[0])).memory in (24, 80)
