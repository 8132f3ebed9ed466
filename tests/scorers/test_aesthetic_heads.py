import hashlib
import urllib.error
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmalign.errors import UserError
from mmalign.scorers import aesthetic_heads
from mmalign.scorers.aesthetic_heads import HEADS, LINEAR, RELU, load_head
from tests.rewards.tiny.aesthetic import WIDTHS, head

INPUTS = F.normalize(torch.randn(64, WIDTHS[0], generator=torch.Generator().manual_seed(1)), dim=-1)


def published(places, relu):
    """The published Sequential, dropouts and all, with the weights of the file."""
    bend = [nn.ReLU()] if relu else []
    layers = [nn.Linear(wide, narrow) for wide, narrow in pairwise(WIDTHS)]
    kept = [part for layer in layers[:3] for part in (layer, *bend, nn.Dropout())] + [layers[3], *bend, layers[4]]
    model = nn.Module()
    model.layers = nn.Sequential(*kept)
    model.load_state_dict(head(places))
    return model.layers.double().eval()


@pytest.mark.parametrize(("places", "relu", "parts"), [(LINEAR, False, 1), (RELU, True, 9)])
def test_the_second_versions_heads_are_read(tmp_path, places, relu, parts):
    torch.save(head(places), tmp_path / "head.pth")
    found = load_head(tmp_path / "head.pth")
    assert len(found) == parts
    torch.testing.assert_close(found(INPUTS).double(), published(places, relu)(INPUTS.double()), rtol=0, atol=2e-6)


def test_layers_without_a_bend_are_one_map_to_the_last_bit_of_float32(tmp_path):
    torch.save(head(LINEAR), tmp_path / "head.pth")
    [layer] = load_head(tmp_path / "head.pth")
    whole = published(LINEAR, False)
    bias = whole(torch.zeros(1, WIDTHS[0], dtype=torch.float64))
    weight = whole(torch.eye(WIDTHS[0], dtype=torch.float64)) - bias
    torch.testing.assert_close(layer.weight.double(), weight.T, rtol=2**-24, atol=1e-12)
    torch.testing.assert_close(layer.bias.double(), bias[0], rtol=2**-24, atol=1e-12)


def test_the_first_versions_head_is_read(tmp_path):
    torch.save({"weight": torch.tensor([[1.0, -2.0]]), "bias": torch.tensor([3.0])}, tmp_path / "head.pth")
    assert load_head(str(tmp_path / "head.pth"))(torch.tensor([[0.6, 0.8]])).item() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"fc.weight": torch.ones(1, 2)}, "it has 'fc.weight' and others"),
        ({f"layers.{i}.{kind}": torch.ones(1, 1) for i in (0, 1, 2) for kind in ("weight", "bias")}, "not the layers of a published one"),
        ({"weight": torch.ones(1, 2)}, "it has 'weight' and others"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "gives 2 numbers, not one rating"),
        ({"weight": torch.ones(1, 3), "bias": torch.ones(2)}, "do not follow on one another"),
        (head(LINEAR) | {"layers.2.weight": torch.ones(128, 1000)}, "do not follow on one another"),
        (head(LINEAR) | {"layers.9.weight": torch.ones(1, 1)}, "not the layers of a published one"),
    ],
)
def test_another_file_is_one_sentence(tmp_path, tensors, message):
    torch.save(tensors, tmp_path / "head.pth")
    with pytest.raises(UserError, match=f"head.pth is no aesthetic head: .*{message}") as error:
        load_head(tmp_path / "head.pth")
    assert "\n" not in str(error.value)


def test_a_file_of_a_published_name_must_be_that_file(tmp_path):
    for name in HEADS:
        torch.save(head(LINEAR), tmp_path / f"{name}.pth")
        with pytest.raises(UserError, match=r"is not the published file: its SHA-256 is \w+, not " + HEADS[name].sha256):
            load_head(tmp_path / f"{name}.pth")


def test_digests_are_whole():
    assert {len(bytes.fromhex(published.sha256)) for published in HEADS.values()} == {hashlib.sha256().digest_size}
    assert len({published.sha256 for published in HEADS.values()}) == len(HEADS) == 6


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'ava\\+logos-l14-reluMSE'"):
        load_head("ava+logos-l14-relu")


def fake_hub(monkeypatch, folder, download):
    hub = SimpleNamespace(get_dir=lambda: str(folder), download_url_to_file=download)
    monkeypatch.setattr(aesthetic_heads.torch, "hub", hub)


def test_a_published_head_is_downloaded_once_from_a_fixed_revision(tmp_path, monkeypatch):
    asked = []

    def download(address, path, hash_prefix, progress):
        asked.append((address, hash_prefix))
        torch.save(head(LINEAR), path)

    fake_hub(monkeypatch, tmp_path, download)
    name = "sac+logos+ava1-l14-linearMSE"
    for _ in range(2):
        with pytest.raises(UserError, match="is not the published file"):
            load_head(name)
    [(address, prefix)] = asked
    assert address.endswith("/6934dd81792f086e613a121dbce43082cb8be85e/sac%2Blogos%2Bava1-l14-linearMSE.pth")
    assert prefix == HEADS[name].sha256
    assert (tmp_path / "checkpoints" / f"{name}.pth").is_file()


def test_without_a_network_the_address_is_named(tmp_path, monkeypatch):
    def download(*_, **__):
        raise urllib.error.URLError("no route to host")

    fake_hub(monkeypatch, tmp_path, download)
    with pytest.raises(UserError, match=r"cannot download https://github.com/LAION-AI/.*/sa_0_4_vit_b_32_linear.pth .*give its path"):
        load_head("sa_0_4_vit_b_32_linear")
    assert not list(Path(tmp_path).rglob("*.pth"))
