"""What a scorer reads of an example: places, pixels, and batches of them."""

import pytest
import torch
from PIL import Image

from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.objectives.plackett_luce import PlackettLuce
from mmalign.reward import to_tensor
from mmalign.training.preferences import ranks_of
from mmalign.training.scorer_data import Collate, ScorerRows


def example(values, **fields):
    return Example("a b", tuple(Image.new("RGB", (4, 4), (value, 0, 0)) for value in values), origin=f"row {values}", **fields)


def tokenize(texts):
    return torch.tensor([[len(text), text.count("b")] for text in texts])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [0, 1, 2]),
        ({"scores": (3.0, 2.0, 1.0)}, [0, 1, 2]),
        ({"scores": (3.0, 3.0, 1.0)}, [0, 0, 1]),
        ({"scores": (3.0, 1.0, 1.0)}, [0, 1, 1]),
        ({"scores": (1.0, 3.0, 2.0)}, [0, 1, 2]),  # the order of the images is the truth, whatever other scores say
        ({"preference": 0.5}, [0, 0, 0]),
        ({"preference": 0.5, "scores": (3.0, 2.0, 1.0)}, [0, 0, 0]),
        ({"preference": 0.8}, [0, 1, 2]),
    ],
    ids=str,
)
def test_places_follow_the_order_and_ties(fields, expected):
    assert ranks_of(example([1, 2, 3], **fields)) == expected


def test_a_batch_holds_pixels_tokens_and_labels_in_order():
    rows = ScorerRows([example([10, 20], weight=0.5), example([30, 40], preference=0.7)], to_tensor)
    batch = Collate(tokenize)([rows[1, 7], rows[0, 9]])
    assert (batch.pixels[:, :, 0, 0, 0] * 255).round().tolist() == [[30, 40], [10, 20]]
    assert batch.tokens.tolist() == [[3, 1], [3, 1]]
    assert batch.preferences.tolist() == pytest.approx([0.7, 1.0])
    assert batch.weights.tolist() == [1.0, 0.5]
    assert batch.positions == (7, 9)
    assert batch.origins == ("row [30, 40]", "row [10, 20]")


def test_rows_kept_in_memory_are_the_same_and_are_not_opened_again():
    opened = []
    rows = ScorerRows([example([i, i + 1]) for i in range(9)], lambda image: opened.append(1) or to_tensor(image))
    read = [rows[i, i] for i in range(9)]
    kept = rows.keep(progress=False)
    count = len(opened)
    for row, i in zip(read, range(9), strict=True):
        assert torch.equal(kept[i, i].pixels, row.pixels)
        assert kept[i, 5].position == 5
    assert len(opened) == count == 36


def test_lists_of_any_length_are_grouped_by_their_length():
    rows = ScorerRows([example([1, 2]), example([1, 2, 3]), example([4, 5])], to_tensor)
    groups = Collate(tokenize).groups([rows[i, i] for i in range(3)])
    assert [group.pixels.shape[:2] for group in groups] == [(2, 2), (1, 3)]
    with pytest.raises(UserError, match="candidates"):
        Collate(tokenize)([rows[0, 0], rows[1, 1]])


def test_labels_are_checked_against_the_method():
    rows = ScorerRows([example([1, 2], preference=0.5), example([1, 2], preference=0.7), example([1])], to_tensor, PlackettLuce())
    assert rows[0, 0].ranks.tolist() == [0, 0]
    with pytest.raises(UserError, match=r"row \[1, 2\] is a soft label"):
        rows[1, 0]
    with pytest.raises(UserError, match="1 candidates"):
        rows[2, 0]


def test_the_digest_tells_labels_and_prompts_apart():
    digests = {
        ScorerRows(examples, to_tensor).digest()
        for examples in (
            [example([1, 2])],
            [example([1, 2], preference=0.5)],
            [example([1, 2], weight=0.5)],
            [example([1, 2, 3])],
            [Example("other", example([1, 2]).images)],
        )
    }
    assert len(digests) == 5
