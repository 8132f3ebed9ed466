"""`docs/rewards.md` says what the classes declare, its examples are accepted, and its accuracies are those that the program knows."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from mmalign import plugins, rewards
from mmalign.config import EvaluateRewardConfig, RewardsConfig, ScoreConfig, from_mapping, load_config
from mmalign.evaluation.agreement.published import KNOWN_SETS, PUBLISHED
from mmalign.evaluation.agreement.words import rule

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "rewards.md").read_text(encoding="utf-8")
NAMES = plugins.names("mmalign.rewards")
COLUMNS = {
    ("aesthetic", "sac+logos+ava1-l14-linearMSE"): "aesthetic v2",
    ("clip_score", "ViT-L-14:openai"): "clip_score L/14",
    ("clip_score", "ViT-H-14:laion2b_s32b_b79k"): "clip_score H/14",
    ("hpsv2", "2.0"): "hpsv2 2.0",
    ("hpsv2", "2.1"): "hpsv2 2.1",
    ("image_reward", None): "image_reward",
    ("mps", None): "mps",
    ("pickscore", None): "pickscore",
    ("hpsv3", None): "hpsv3",
}


def tables() -> Iterator[list[list[str]]]:
    """Every table of the page, as rows of cells, the rule below the head left out."""
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        yield [row for row in rows if not set("".join(row)) <= set("-:")]


def table(*head: str) -> list[dict[str, str]]:
    """The rows of the table with these columns among its own, by column."""
    (found,) = (rows for rows in tables() if set(head) <= set(rows[0]))
    return [dict(zip(found[0], row, strict=True)) for row in found[1:]]


def blocks(language: str) -> list[str]:
    return [text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if kind == language]


def commands(name: str) -> list[list[str]]:
    """The words after ``mmalign NAME`` in the page's examples."""
    lines = [line for line in "\n".join(blocks("")).splitlines() if line.startswith(f"mmalign {name} ")]
    return [shlex.split(line, comments=True)[2:] for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_the_table_says_what_the_class_declares(name):
    (row,) = (row for row in table("unit", "range", "gradients") if row["name"] == f"`{name}`")
    kind = plugins.load("mmalign.rewards", name)
    low, high = kind.range
    assert row["unit"] == kind.unit
    assert row["range"] == f"{low:g} to {high:g}"
    assert row["prompt"] == ("yes" if kind.needs_prompt else "no")
    assert row["gradients"] == ("yes" if kind.differentiable else "no")
    assert row["licence"] == kind.licence
    (place,) = (row for row in table("name", "source", "downloads") if row["name"] == f"`{name}`")
    assert place["source"] == kind.source


def test_every_reward_has_a_row_and_no_row_is_of_another():
    assert [row["name"] for row in table("unit", "range", "gradients")] == [f"`{name}`" for name in NAMES]


def accuracies() -> list[dict[str, str]]:
    """A row per test set and place, a column per scorer that is here; one number stands once."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for found in PUBLISHED:
        if found.reward is None:
            continue
        version = found.fields.get("pretrained") or found.fields.get("version")
        key = (KNOWN_SETS[found.dataset].title, found.source, rule(found))
        row = rows.setdefault(key, dict(zip(("test set", "published in", "rule for ties"), key, strict=True)))
        row[COLUMNS[found.reward, version]] = f"{100 * found.accuracy:.4g}"
    return [
        {column: row.get(column, "") for column in ("test set", "published in", "rule for ties", *COLUMNS.values())}
        for row in rows.values()
    ]


def test_the_accuracies_are_those_that_evaluate_reward_prints():
    assert table("test set", "rule for ties") == accuracies()


@pytest.mark.parametrize("text", [text for text in blocks("yaml") if "rewards:" in text], ids=lambda text: text.split(maxsplit=3)[3][:20])
def test_rewards_in_yaml_are_accepted(text):
    found = from_mapping({"rewards": yaml.safe_load(text)["rewards"]}, RewardsConfig, "the page")
    assert found.rewards


@pytest.mark.parametrize("words", commands("score"), ids=" ".join)
def test_examples_of_mmalign_score_are_accepted(words):
    count = next(place for place, word in enumerate(words) if word.startswith("--"))
    load_config(None, ["--images", *words[:count], *words[count:]], ScoreConfig, prog="mmalign score")


@pytest.mark.parametrize("words", commands("evaluate-reward"), ids=" ".join)
def test_examples_of_mmalign_evaluate_reward_are_accepted(words):
    load_config(None, words, EvaluateRewardConfig, prog="mmalign evaluate-reward")


def test_the_reward_of_ones_own_works_as_printed(tmp_path, monkeypatch):
    (text,) = (text for text in blocks("python") if "PLUGIN" in text)
    (tmp_path / "my_rewards").mkdir()
    (tmp_path / "my_rewards" / "brightness.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    reward = rewards.load("my_rewards.brightness", target=0.25)
    gray = Image.new("RGB", (4, 4), (51, 51, 51))
    assert reward.score([gray]).item() == pytest.approx(-abs(51 / 255 - 0.25))
    pixels = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    reward.score(pixels, differentiable=True).sum().backward()
    assert pixels.grad.flatten().tolist() == pytest.approx([-1 / 12] * 12)
