"""Embeddings of users: files, mixtures, interpolation."""

import pytest
import torch

from mmalign.errors import UserError
from mmalign.personalization import UserEmbeddings


def test_what_is_saved_is_read_in_its_order(tmp_path):
    users = UserEmbeddings({"zoe": torch.randn(2, 3), "ann": torch.randn(2, 3)})
    users.save(tmp_path / "users.safetensors")
    again = UserEmbeddings.load(tmp_path / "users.safetensors")
    assert list(again) == ["zoe", "ann"]
    assert all(torch.equal(again[name], users[name]) for name in users)


def test_a_mixture_is_the_weighted_sum_and_a_line_runs_between_its_ends():
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    users = UserEmbeddings({"ann": first, "ben": second})
    assert torch.equal(users.mixed({"ann": 0.5, "ben": 2.0}), torch.tensor([[0.5, 4.0]]))
    assert torch.equal(users.between("ann", "ben", 0.0), first)
    assert torch.equal(users.between("ann", "ben", 1.0), second)
    assert torch.equal(users.between("ann", "ben", 0.25), torch.tensor([[0.75, 0.5]]))
    assert torch.equal(users.between("ann", "ann", 0.3), first)


def test_one_more_user_leaves_the_others():
    users = UserEmbeddings({"ann": torch.zeros(1, 2)})
    more = users.having("ben", torch.ones(1, 2))
    assert (list(users), list(more)) == (["ann"], ["ann", "ben"])


@pytest.mark.parametrize(
    ("embeddings", "words"),
    [
        ({"ann": torch.zeros(1, 2), "ben": torch.zeros(1, 3)}, "'ben' is .*1, 3"),
        ({"ann": torch.zeros(3)}, "'ann'"),
        ({"ann": torch.tensor([[float("nan")]])}, "'ann' has a number that is not finite"),
    ],
)
def test_embeddings_that_do_not_fit_are_told_by_name(embeddings, words):
    with pytest.raises(UserError, match=words):
        UserEmbeddings(embeddings)


def test_a_file_of_something_else_is_told(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="x.safetensors"):
        UserEmbeddings.load(tmp_path / "x.safetensors")
