"""A run's result written in another form."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from mmalign.delivery import comfyui, kohya
from mmalign.delivery.averaged import copy_card, newest, save_averaged
from mmalign.delivery.lora import Lora, read_lora, read_peft
from mmalign.delivery.merged import save_merged
from mmalign.delivery.peft_form import copy_peft
from mmalign.delivery.readers import OF_DIFFERENCES, READ_BY, readers_of
from mmalign.delivery.result import Base, Result, find_result, outline_of
from mmalign.diffusion.aligned import LORA_FILE
from mmalign.errors import UserError
from mmalign.files import write_whole


def export(folder: str | Path, form: str, out: str | Path | None = None, dtype: str | None = None, pretrained: str | None = None) -> Path:
    """Writes the result of a run in another form and returns where it is.

    Args:
        folder: of the run, or of one of its checkpoints.
        form: one of ``FORMS``.
        out: the file or folder to write; None = one in ``exports/`` in the folder.
        dtype: number format of what is written; None = float16 for files of other tools, that of the base for whole pipelines, and that of
            what was trained for diffusers' own.
        pretrained: the base, in place of the one that the run names.

    Raises:
        UserError: the folder has nothing that this form can hold, the base cannot be read, or the place cannot be written.
    """
    result = find_result(folder, pretrained)
    return FORMS[form](result, None if out is None else Path(out).expanduser(), dtype)


def read_by(place: Path) -> str | None:
    """Which programs read a file that was exported; None of a folder, which is diffusers' own."""
    if not place.is_file():
        return None
    with safe_open(place, "pt") as file:
        return (file.metadata() or {}).get(READ_BY)


def _kohya(result: Result, out: Path | None, dtype: str | None) -> Path:
    lora, base = _opened(result)
    made, readers = kohya.tensors(lora, base), readers_of("kohya", base.pipeline)
    return _write(result, out, "kohya", made, kohya.metadata(lora, base, result) | {READ_BY: readers}, dtype)


def _comfyui(result: Result, out: Path | None, dtype: str | None) -> Path:
    lora, base = _opened(result)
    made = comfyui.tensors(lora, base, result)
    readers = OF_DIFFERENCES if lora.has_magnitudes else readers_of("comfyui", base.pipeline)
    return _write(result, out, "comfyui", made, kohya.metadata(lora, base, result) | {READ_BY: readers}, dtype)


def _opened(result: Result) -> tuple[Lora, Base]:
    base = outline_of(result.base)
    if result.is_peft:
        return read_peft(result.folder, base.denoiser_name), base
    return read_lora(result.lora), base


def _write(result: Result, out: Path | None, form: str, tensors: dict[str, Tensor], said: dict[str, str], dtype: str | None) -> Path:
    """One file. Alphas stay in float32: float16 has no number for every one."""
    place = out or result.folder / "exports" / f"{result.folder.resolve().name}_{form}.safetensors"
    if place.suffix != ".safetensors":
        raise UserError(f"--out {place} is to be one file; give it a name that ends in .safetensors")
    number = getattr(torch, dtype or "float16")
    changed = {name: (tensor if name.endswith(".alpha") else tensor.to(number)).contiguous() for name, tensor in sorted(tensors.items())}
    for name, tensor in changed.items():
        if not tensor.isfinite().all():
            raise UserError(f"{name} has numbers that {dtype or 'float16'} cannot hold; export with --dtype float32")
    write_whole(place, save(changed, {"format": "pt", **said}))
    return place


def _diffusers(result: Result, out: Path | None, dtype: str | None) -> Path:
    if result.is_peft:
        return _folder(result, out, "diffusers", lambda place: copy_peft(result.folder, place, dtype))
    lora = result.lora
    return _folder(result, out, "diffusers", lambda place: _copy_lora(lora, place, dtype))


def _copy_lora(source: Path, folder: Path, dtype: str | None) -> None:
    """diffusers' own file, in another number format where one is given, with the scales in its header."""
    if dtype is None:
        shutil.copy(source, folder / LORA_FILE)
        return
    with safe_open(source, "pt") as file:
        tensors = {name: file.get_tensor(name).to(getattr(torch, dtype)) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        header = file.metadata()
    write_whole(folder / LORA_FILE, save(tensors, header))


def _merged(result: Result, out: Path | None, dtype: str | None) -> Path:
    number = dtype or result.base.dtype
    return _folder(result, out, "merged", lambda place: save_merged(result, place, number))


def _ema(result: Result, out: Path | None, dtype: str | None) -> Path:
    if dtype is not None:
        raise UserError("averages are written as they are; leave --dtype out, and export the folder again as diffusers to change it")
    source = newest(result)
    return _folder(source, out, "ema", lambda place: save_averaged(source, place))


def _folder(result: Result, out: Path | None, form: str, write: Callable[[Path], Any]) -> Path:
    """A folder that appears whole or not at all, with the model card in it.

    Raises:
        UserError: something is there already, or it cannot be written.
    """
    place = out or result.folder / "exports" / form
    if place.exists():
        raise UserError(f"{place} is there already; remove it, or give another place with --out")
    staged = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        staged.mkdir(parents=True)
        write(staged)
        copy_card(result.folder, staged)
        staged.rename(place)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}; free some space or choose another place with --out") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return place


FORMS: dict[str, Callable[[Result, Path | None, str | None], Path]] = {
    "kohya": _kohya,
    "comfyui": _comfyui,
    "diffusers": _diffusers,
    "merged": _merged,
    "ema": _ema,
}
"""What writes each form."""
