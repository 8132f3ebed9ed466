import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmalign.errors import UserError
from mmalign.scorers.checkpoint import load_into, locate, looks_local, read_tensors

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(200, 200)}


@pytest.fixture
def folder(tmp_path):
    torch.save(TENSORS, tmp_path / "weights.pt")
    save_file(TENSORS, tmp_path / "weights.safetensors")
    return tmp_path


def equal(found, expected=TENSORS):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


class Harmful:
    ran = False

    def __reduce__(self):
        return setattr, (Harmful, "ran", True)


def test_a_checkpoint_is_found_as_a_file_and_in_a_folder(folder):
    assert locate(folder / "weights.pt") == folder / "weights.pt"
    assert locate(str(folder), "weights.pt") == folder / "weights.pt"


def test_a_folder_without_it_says_what_it_holds(folder):
    with pytest.raises(UserError, match=r"no other.pt, but weights.pt, weights.safetensors"):
        locate(folder, "other.pt")


def test_a_place_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at /nowhere/x.pt"):
        locate("/nowhere/x.pt", "x.pt")
    with pytest.raises(UserError, match="the hub cannot be reached, and nothing was downloaded before.*give its path"):
        locate("owner/name", "x.pt")


@pytest.mark.parametrize(
    ("place", "local"), [("owner/name", False), ("./name", True), ("/owner/name", True), ("a/b/c", True), ("x.pt", True)]
)
def test_hub_ids_are_told_from_paths(place, local):
    assert looks_local(place) is local


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_both_formats_are_read(folder, name):
    assert equal(read_tensors(folder / name))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model_state_dict": tensors},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}},
    ],
)
def test_what_trainers_wrap_around_is_taken_off(tmp_path, wrap):
    torch.save(wrap(TENSORS), tmp_path / "wrapped.pt")
    assert equal(read_tensors(tmp_path / "wrapped.pt"))


def test_a_module_that_is_called_module_keeps_its_name(tmp_path):
    named = {"module.a": torch.ones(1), "head.a": torch.ones(1)}
    torch.save(named, tmp_path / "named.pt")
    assert equal(read_tensors(tmp_path / "named.pt"), named)


def test_the_hash_is_checked(folder):
    digest = hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest()
    assert equal(read_tensors(folder / "weights.pt", sha256=digest))
    with pytest.raises(UserError, match=f"weights.pt is not the published file: its SHA-256 is {digest}, not 0000"):
        read_tensors(folder / "weights.pt", sha256="0" * 64)


def test_a_pickle_of_objects_is_refused_and_not_run(tmp_path):
    torch.save({"a": Harmful()}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": Harmful()}, protocol=2))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(UserError, match="a pickle of Python objects, which could run code and is refused"):
            read_tensors(tmp_path / name)
    assert not Harmful.ran


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_one_sentence(folder, name, part):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(part * len(content))])
    with pytest.raises(UserError, match=f"{name} .*damaged.*download it again") as error:
        read_tensors(folder / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("page.pt", b"<!DOCTYPE html>", "no checkpoint: its first bytes"),
        ("empty.pt", b"", "no checkpoint: its first bytes"),
        ("page.safetensors", b"<!DOCTYPE html>", "damaged or no checkpoint"),
        ("pointer.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        ("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
    ],
)
def test_text_in_place_of_a_checkpoint_is_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_tensors(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [[torch.ones(1)], {"epoch": 3}, torch.ones(3), {}])
def test_a_file_without_named_tensors_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "other.pt")
    with pytest.raises(UserError, match="holds no named tensors"):
        read_tensors(tmp_path / "other.pt")


def test_tensors_come_into_a_module_in_its_number_format(tmp_path):
    weight = torch.tensor([[1.5, -2.0]])
    layer = nn.Linear(2, 1)
    load_into(layer, {"weight": weight.half(), "bias": torch.tensor([3.0])}, tmp_path)
    assert layer.weight.dtype == torch.float32
    assert layer(torch.tensor([[1.0, 1.0]])).item() == 2.5


def test_tensors_of_the_right_format_are_taken_and_not_copied(tmp_path):
    tensors = {"weight": torch.ones(1, 2), "bias": torch.ones(1)}
    layer = nn.Linear(2, 1)
    load_into(layer, tensors, tmp_path)
    assert layer.weight.data_ptr() == tensors["weight"].data_ptr()
    assert layer.weight.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "has no tensor 'bias'"),
        ({"more": torch.ones(1)}, "also has 'more'"),
        ({"weight": torch.ones(1, 3)}, r"'weight' has shape \(1, 3\), not \(1, 2\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    tensors = {"weight": torch.ones(1, 2), "bias": torch.ones(1)} | change
    with pytest.raises(UserError, match=f"{tmp_path}.*{message}"):
        load_into(nn.Linear(2, 1), {name: tensor for name, tensor in tensors.items() if tensor is not None}, tmp_path)


def test_buffers_of_older_libraries_may_be_there_or_not(tmp_path):
    layer = nn.BatchNorm1d(2)
    load_into(layer, {**layer.state_dict(), "x.position_ids": torch.ones(1)}, tmp_path, ignore=("position_ids",))
    tensors = layer.state_dict()
    del tensors["num_batches_tracked"]
    load_into(layer, tensors, tmp_path, ignore=("num_batches_tracked",))
