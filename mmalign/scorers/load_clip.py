"""Opening a CLIP-type model by where it lies, whichever library wrote it."""

import json
from pathlib import Path

from mmalign.errors import UserError
from mmalign.scorers.clip import ClipModel
from mmalign.scorers.open_clip import CONFIG, is_tag, load_open_clip
from mmalign.scorers.transformers_clip import KINDS, load_transformers


def load_clip(place: str | Path, *, arch: str | None = None, processor: str | Path | None = None, revision: str | None = None) -> ClipModel:
    """A CLIP-type model, float32, on the CPU.

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
    if text.startswith(("hf-hub:", "local-dir:")) or is_tag(text) or Path(text).expanduser().is_file():
        return load_open_clip(place, arch, revision)
    folder = Path(text).expanduser()
    if folder.is_dir() and (folder / CONFIG).is_file() and _kind(folder) not in KINDS:
        return load_open_clip(folder, arch, revision)
    return load_transformers(place, revision, processor)


def _kind(folder: Path) -> str | None:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is no JSON ({error}); download it again") from error
