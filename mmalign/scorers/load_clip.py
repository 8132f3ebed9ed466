"""Opening a CLIP-type model by where it lies, whichever library wrote it."""

import json
from pathlib import Path

from mmalign.errors import UserError
from mmalign.scorers.checkpoint import locate, looks_local
from mmalign.scorers.clip import ClipModel
from mmalign.scorers.open_clip import CONFIG, is_tag, load_open_clip
from mmalign.scorers.transformers_clip import KINDS, load_transformers


def load_clip(place: str | Path, *, arch: str | None = None, processor: str | Path | None = None, revision: str | None = None) -> ClipModel:
    """A CLIP-type model, float32, on the CPU, in evaluation mode.

    Args:
        place: open_clip's ``ARCH:TAG`` ("ViT-L-14:openai"); a folder or hub id of transformers (CLIP, SigLIP, SigLIP 2) or of open_clip;
            a checkpoint file of open_clip. Where a folder holds both formats, transformers' is read; ``hf-hub:`` or ``local-dir:`` before
            it asks for open_clip's.
        arch: the architecture of a checkpoint file, by open_clip's name or as its JSON file.
        processor: folder or hub id of the tokenizer and the image processor, where a model of transformers came without.
        revision: branch, tag or commit on the hub.

    Raises:
        UserError: there is no such model, or it is none of these.
    """
    text = str(place)
    if _is_open_clips(text, revision):
        if processor is not None:
            raise UserError(f"{place} is a model of open_clip, which has no processor of its own; leave processor out")
        return load_open_clip(text, arch, revision)
    if arch is not None:
        raise UserError(f"arch says what a checkpoint file is of, and {place} is no file; leave it out, or give the file")
    if looks_local(place) and _found(place, "config.json", revision) is None:
        remedy = "give a folder with config.json or open_clip_config.json, a hub id, a checkpoint file, or open_clip's ARCH:TAG"
        raise UserError(f"there is no CLIP-type model at {place}; {remedy}")
    return load_transformers(Path(text).expanduser() if looks_local(place) else place, revision, processor)


def _is_open_clips(place: str, revision: str | None) -> bool:
    if place.startswith(("hf-hub:", "local-dir:")) or is_tag(place) or Path(place).expanduser().is_file():
        return True
    return _kind(place, revision) not in KINDS and _found(place, CONFIG, revision) is not None


def _kind(place: str | Path, revision: str | None) -> str | None:
    """The type of model that a place declares for transformers; None where it declares none."""
    path = _found(place, "config.json", revision)
    try:
        return None if path is None else json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is no configuration of a model ({error}); download it again") from error


def _found(place: str | Path, file: str, revision: str | None) -> Path | None:
    try:
        return locate(place, file, revision)
    except UserError:
        return None
