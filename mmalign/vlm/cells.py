"""Which part of a picture each of its tokens stands for: left, top, right and bottom, as shares of the picture (n, 4)."""

import re

import torch
from torch import Tensor

SEPARATOR = torch.tensor([[1.0, 0.0, 2.0, 1.0]])
"""The area of a token that stands for no part of a picture: it lies to the right of it, so that no box holds any of it."""
ROW_AND_COLUMN = re.compile(r"<row_(\d+)_col_(\d+)>")


def grid_cells(rows: int, columns: int) -> Tensor:
    """Tokens in a grid over the whole picture, row by row."""
    top, left = torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns, indexing="ij")
    return torch.stack([left, top, left + 1 / columns, top + 1 / rows], -1).flatten(0, 1)


def separated_cells(rows: int, columns: int) -> Tensor:
    """Tokens in a grid over the whole picture with a separator after each row, whose area lies to the right of the picture."""
    left, top, right, bottom = grid_cells(rows, columns + 1).unbind(-1)
    return torch.stack([left * (columns + 1) / columns, top, right * (columns + 1) / columns, bottom], -1)


def within(cells: Tensor, box: tuple[float, float, float, float]) -> Tensor:
    """The areas of tokens of a part of a picture, in shares of the whole one."""
    left, top, right, bottom = box
    corner, size = torch.tensor([left, top, left, top]), torch.tensor([right - left, bottom - top, right - left, bottom - top])
    return corner + cells * size


def cropped_cells(side: int, size: tuple[int, int]) -> Tensor:
    """A square grid over the middle of a picture of (width, height) whose shorter side was fitted: CLIP's center crop."""
    width, height = size
    square = min(width, height)
    left, top = (width - square) / 2 / width, (height - square) / 2 / height
    return within(grid_cells(side, side), (left, top, left + square / width, top + square / height))


def padded_cells(side: int, size: tuple[int, int]) -> Tensor:
    """A square grid over a picture of (width, height) that was padded to a square around its middle: areas may lie outside of it."""
    width, height = size
    square = max(width, height)
    left, top = (width - square) / 2 / width, (height - square) / 2 / height
    return within(grid_cells(side, side), (left, top, left + square / width, top + square / height))


def tiled_cells(replacement: str, image_token: str) -> Tensor:
    """Tiles with a square grid each, and the whole picture once more where it is added, from the text that stands for a picture.

    Args:
        replacement: such as ``<row_1_col_1><image><image>...<global-img><image>...``.
        image_token: the token of which there is one per area.
    """
    marks = [(int(row), int(column)) for row, column in ROW_AND_COLUMN.findall(replacement)]
    tokens = replacement.count(image_token)
    if not marks:
        return _square(tokens)
    rows, columns = max(row for row, _ in marks), max(column for _, column in marks)
    first = ROW_AND_COLUMN.split(replacement)[3].count(image_token)
    tiles = [within(_square(first), ((c - 1) / columns, (r - 1) / rows, c / columns, r / rows)) for r, c in marks]
    whole = tokens - first * len(marks)
    return torch.cat([*tiles, *([_square(whole)] if whole else [])])


def _square(tokens: int) -> Tensor:
    side = round(tokens**0.5)
    if side * side != tokens:
        raise ValueError(f"{tokens} tokens are no square grid")
    return grid_cells(side, side)
