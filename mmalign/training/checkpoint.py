"""Checkpoints: written whole or not at all, limited in number, and enough to go on bit for bit."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mmalign.errors import UserError

PREFIX = "checkpoint-"


@dataclass(frozen=True)
class Progress:
    """Where a run stands, and what must be equal for a resume to be exact."""

    step: int
    rows: int
    rows_per_step: int
    seed: int


def save(output_dir: Path, progress: Progress, trainable: Any, state: dict[str, Any], limit: int | None) -> Path:
    """Writes ``checkpoint-{step}/`` under a temporary name, then renames it and removes the oldest beyond the limit.

    Args:
        trainable: has ``state()`` (name to tensor) and ``save(folder)``, which writes it for the stock libraries.
        state: whatever else the run needs; plain values and tensors only, since it is read with ``weights_only=True``.

    Raises:
        UserError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    final, temporary = output_dir / f"{PREFIX}{progress.step}", output_dir / f".{PREFIX}{progress.step}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file({k: v.detach().cpu().contiguous() for k, v in trainable.state().items()}, temporary / "trainable.safetensors")
        torch.save(state, temporary / "state.pt")
        trainable.save(temporary)
        (temporary / "progress.json").write_text(json.dumps(progress.__dict__), encoding="utf-8")
        _sync(temporary)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(f"cannot write the checkpoint {final}: {error}; free some space, earlier checkpoints are untouched") from error
    prune(output_dir, limit)
    return final


def _sync(folder: Path) -> None:
    """Has the disk hold every file before the rename makes them the checkpoint."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def checkpoints(output_dir: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    found = [(int(m[1]), path) for path in output_dir.glob(f"{PREFIX}*") if (m := re.fullmatch(rf"{PREFIX}(\d+)", path.name))]
    return [path for _, path in sorted(found)]


def prune(output_dir: Path, limit: int | None) -> None:
    """Removes the oldest checkpoints beyond the limit, and what killed writers left behind."""
    for leftover in output_dir.glob(f".{PREFIX}*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    if limit is not None:
        for path in checkpoints(output_dir)[:-limit]:
            shutil.rmtree(path)


def find(output_dir: Path, wanted: str | None) -> Path | None:
    """The checkpoint to resume from: None, "latest" (None where there is none yet), or a folder.

    Raises:
        UserError: the named folder is no checkpoint.
    """
    if wanted is None:
        return None
    if wanted == "latest":
        found = checkpoints(output_dir)
        return found[-1] if found else None
    path = Path(wanted) if Path(wanted).is_dir() else output_dir / wanted
    if not (path / "progress.json").is_file():
        there = ", ".join(p.name for p in checkpoints(output_dir)) or "none"
        raise UserError(f"train.resume_from_checkpoint is {wanted}, which is no checkpoint; in {output_dir} there are: {there}")
    return path


def load(path: Path, expected: Progress, trainable: Any) -> tuple[int, dict[str, Any]]:
    """Puts the trained tensors back and returns the step and the rest of the state.

    Raises:
        UserError: a file is damaged, or the run differs in what decides the order of the data.
    """
    try:
        progress = Progress(**json.loads((path / "progress.json").read_text(encoding="utf-8")))
        tensors = load_file(path / "trainable.safetensors")
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"the checkpoint {path} cannot be read ({error}); remove it and resume from an earlier one") from error
    for name in ("rows", "rows_per_step", "seed"):
        was, now = getattr(progress, name), getattr(expected, name)
        if was != now:
            raise UserError(f"the checkpoint {path} was made with {name} = {was}, this run has {now}; set it back, or do not resume")
    trainable.load(tensors)
    return progress.step, state
