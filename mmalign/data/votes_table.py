"""Blind votes as a table: on pictures with Pick-a-Pic's columns, on answers with TRL's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmalign.data.tables import Table
from mmalign.data.votes_layout import reading

LABELS: Mapping[str, tuple[float, float] | None] = {
    "left": (1.0, 0.0),
    "right": (0.0, 1.0),
    "tie": (0.5, 0.5),
    "both_bad": None,
    "skip": None,
}
"""The labels of the left and the right picture; None where the vote prefers none and says not that they are alike."""

PICTURES = (
    "caption",
    "jpg_0",
    "jpg_1",
    "label_0",
    "label_1",
    "has_label",
    "are_different",
    "model_0",
    "model_1",
    "image_0_uid",
    "image_1_uid",
    "ranking_id",
    "user_id",
)
ANSWERS = ("prompt", "images", "chosen", "rejected", "model_chosen", "model_rejected", "user_id")

_ROUND = """
SELECT prompt, left_side, right_side, choice, id, voter, l.name, r.name FROM votes JOIN rounds ON votes.round = rounds.number
JOIN models l ON l.key = left_model JOIN models r ON r.key = right_model WHERE rounds.number = ?"""


class VotesTable(Table):
    """The votes that are there when it is opened, in the order of their rounds; later ones change nothing.

    Votes on pictures are all there, skipped ones without a label. Votes on answers are those that prefer one.
    """

    kind = "blind votes"

    def __init__(self, path: Path, split: str):
        self._path, self.split = path, split
        self.name = f"{path} ({split})"
        self.columns = PICTURES if split == "pictures" else ANSWERS
        decided = "" if split == "pictures" else " AND choice IN ('left', 'right')"
        with reading(path) as votes:
            query = f"SELECT number FROM votes JOIN rounds ON votes.round = rounds.number WHERE kind = ?{decided} ORDER BY number"
            self._numbers = [number for (number,) in votes.execute(query, (split,))]

    def __len__(self) -> int:
        return len(self._numbers)

    def cells(self, index: int) -> Mapping[str, Any]:
        with reading(self._path) as votes:
            return self._row(votes, index, pictures=True)

    def column(self, name: str) -> list[Any]:
        pictures = name in ("jpg_0", "jpg_1", "images")
        with reading(self._path) as votes:
            return [self._row(votes, index, pictures)[name] for index in range(len(self))]

    def origin(self, index: int) -> str:
        return f"{self.name}, round {self._numbers[index]}"

    def _row(self, votes: Any, index: int, pictures: bool) -> dict[str, Any]:
        number = self._numbers[index]
        found = votes.execute(_ROUND, (number,)).fetchone()
        return (_on_pictures if self.split == "pictures" else _on_answers)(votes, number, found, pictures)


def kinds(path: Path) -> list[str]:
    """What there are votes on: pictures, answers, or both. Raises UserError where the file holds no votes."""
    with reading(path) as votes:
        query = "SELECT DISTINCT kind FROM votes JOIN rounds ON votes.round = rounds.number ORDER BY kind DESC"
        return [kind for (kind,) in votes.execute(query)]


def _on_pictures(votes: Any, number: int, found: tuple[Any, ...], pictures: bool) -> dict[str, Any]:
    prompt, left, right, choice, name, voter, *models = found
    labels = LABELS[choice]
    files = [_png(votes, side) if pictures else None for side in (left, right)]
    return {
        "caption": prompt,
        "jpg_0": files[0],
        "jpg_1": files[1],
        "label_0": labels and labels[0],
        "label_1": labels and labels[1],
        "has_label": labels is not None,
        "are_different": left != right,
        "model_0": models[0],
        "model_1": models[1],
        "image_0_uid": left,
        "image_1_uid": right,
        "ranking_id": name,
        "user_id": voter,
    }


def _on_answers(votes: Any, number: int, found: tuple[Any, ...], pictures: bool) -> dict[str, Any]:
    prompt, left, right, choice, _, voter, *models = found
    turn = 1 if choice == "left" else -1
    shown = [image for (image,) in votes.execute("SELECT image FROM shown WHERE round = ? ORDER BY place", (number,))]
    chosen, rejected = (left, right)[::turn]
    model_chosen, model_rejected = models[::turn]
    return {
        "prompt": prompt,
        "images": [_png(votes, image) for image in shown] if pictures else None,
        "chosen": chosen,
        "rejected": rejected,
        "model_chosen": model_chosen,
        "model_rejected": model_rejected,
        "user_id": voter,
    }


def _png(votes: Any, digest: str) -> bytes:
    return votes.execute("SELECT png FROM images WHERE digest = ?", (digest,)).fetchone()[0]
