"""What makes a base an aligned model: a LoRA, a denoiser of its own, or a conditioner that listens to a user."""

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from mmalign.diffusion.adapters import remove_adapter, switch_to, takes_lora, turn
from mmalign.diffusion.aligned import denoiser_from, load_adapter, lora_file
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.hub import first_line, hub_reason
from mmalign.personalization.conditioner import FILE as CONDITIONER_FILE
from mmalign.personalization.conditioner import UserConditioner
from mmalign.personalization.denoiser import KWARGS
from mmalign.personalization.embeddings import User
from mmalign.pipelines import looks_local


class Adapter(ABC):
    """One aligned model over a base that it shares with others; off until it is switched on.

    Attributes:
        kind: what it is, for people.
        scaled: whether its strength can be changed.
        users: names of those whom it knows.
        digest: 12 characters that tell its weights from others.
    """

    kind: str
    scaled: bool = True
    users: tuple[str, ...] = ()
    digest: str = ""

    @abstractmethod
    def on(self, scale: float, user: User) -> Any:
        """A context in which the pipeline is the aligned one; it gives further arguments of the pipeline's call."""

    @abstractmethod
    def remove(self) -> None:
        """Takes it out of the pipeline again."""


class Lora(Adapter):
    """A LoRA, under a name of its own in the pipeline.

    Args:
        place: a folder, a file, or a hub id.
        key: the name.
    """

    kind = "LoRA"

    def __init__(self, family: DiffusionFamily, place: str | Path, key: str):
        self.family, self.key = family, key
        load_adapter(family.pipe, family.denoiser_name, place, key)
        self._off()
        self.digest = digest_of(place)

    @contextmanager
    def on(self, scale: float, user: User) -> Iterator[dict[str, Any]]:
        pipe = self.family.pipe
        turn(pipe, self.family.denoiser_name, on=True)
        if takes_lora(pipe):
            pipe.set_adapters([self.key], [scale])
        else:
            switch_to(self.family.denoiser, [self.key], scale)
        try:
            yield {}
        finally:
            self._off()

    def remove(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft tells which one is active now; none is on
            if takes_lora(self.family.pipe):
                self.family.pipe.delete_adapters(self.key)
            else:
                remove_adapter(self.family.denoiser, self.key)

    def _off(self) -> None:
        turn(self.family.pipe, self.family.denoiser_name, on=False)


class Whole(Adapter):
    """A denoiser with weights of its own; what else is in the pipeline is shared.

    Args:
        folder: holds it in a subfolder of its name.
    """

    kind, scaled = "full weights", False

    def __init__(self, family: DiffusionFamily, folder: Path):
        self.family = family
        try:
            self.denoiser = denoiser_from(folder, family.denoiser_name, family.denoiser).to(family.device).eval()
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(f"{folder} does not fit this base ({first_line(error)}); give the base that it was trained on") from error
        self.digest = digest_of(folder / family.denoiser_name)

    @contextmanager
    def on(self, scale: float, user: User) -> Iterator[dict[str, Any]]:
        pipe, name = self.family.pipe, self.family.denoiser_name
        base = getattr(pipe, name)
        setattr(pipe, name, self.denoiser)
        try:
            yield {}
        finally:
            setattr(pipe, name, base)

    def remove(self) -> None:
        del self.denoiser


class Personal(Adapter):
    """A conditioner that listens to a user, with the LoRA beside it where there is one."""

    kind = "personal"

    def __init__(self, family: DiffusionFamily, file: Path, lora: Lora | None):
        self.family, self.lora = family, lora
        self.conditioner = UserConditioner.load(file)
        self.conditioner.attach(family.pipe).detach()  # whether it fits is known now
        self.users = tuple(self.conditioner.users)
        self.digest = digest_of(file)

    @contextmanager
    def on(self, scale: float, user: User) -> Iterator[dict[str, Any]]:
        """The scale is that of the second attention."""
        with ExitStack() as stack:
            given = stack.enter_context(self.lora.on(1.0, None)) if self.lora else {}
            self.conditioner.scale = scale
            self.conditioner.attach(self.family.pipe)
            stack.callback(self.conditioner.detach)
            yield given | {_door(self.family.pipe): {"user": user}}

    def remove(self) -> None:
        if self.lora:
            self.lora.remove()


def open_adapter(family: DiffusionFamily, place: str | Path, key: str) -> Adapter:
    """What lies at a place, off.

    Args:
        place: the output folder of a training run, a file of weights, or a hub id of a LoRA.
        key: what diffusers should call a LoRA.

    Raises:
        UserError: nothing there is an adapter, or it belongs to another base.
    """
    path = Path(place).expanduser()
    if not path.exists():
        if looks_local(str(place)):
            raise UserError(f"there is nothing at {place}; give the output folder of a training run, a .safetensors file, or a hub id")
        return _from_hub(family, str(place), key)
    if path.is_file():
        if path.suffix != ".safetensors":
            raise UserError(f"{path} is no .safetensors file, and other formats can run code; give one, or the folder of a training run")
        return Personal(family, path, None) if _is_conditioner(path) else Lora(family, path, key)
    wanted = lora_file(family.pipe)
    has_lora = (path / wanted).is_file()
    if (path / CONDITIONER_FILE).is_file():
        return Personal(family, path / CONDITIONER_FILE, Lora(family, path, key) if has_lora else None)
    if has_lora:
        return Lora(family, path, key)
    if (path / family.denoiser_name).is_dir():
        return Whole(family, path)
    return Lora(family, _only_file(path, wanted, family.denoiser_name), key)


def digest_of(place: str | Path) -> str:
    """12 characters that tell weights from others: of a file's content, or of all weights in a folder; a hub id as it is."""
    path = Path(place)
    if not path.exists():
        return str(place)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    state = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()[:12]


def _from_hub(family: DiffusionFamily, place: str, key: str) -> Lora:
    try:
        return Lora(family, place, key)
    except OSError as error:
        raise UserError(f"cannot read a LoRA from {place} ({hub_reason(error)}); give a folder, or the hub id of a LoRA") from error


def _only_file(folder: Path, file: str, denoiser: str) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        wanted = f"neither {file} nor {CONDITIONER_FILE} nor a folder {denoiser}"
        raise UserError(f"{folder} holds {wanted}; give the output folder of a training run, or one file of it")
    return files[0]


def _is_conditioner(file: Path) -> bool:
    try:
        with safe_open(file, "pt") as opened:
            said: Mapping[str, str] = opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read as weights ({first_line(error)}); give it as it was written") from error
    return {"shape", "users"} <= said.keys()


def _door(pipe: Any) -> str:
    """The pipeline's argument for what is meant for attention."""
    import inspect

    known = inspect.signature(type(pipe).__call__).parameters
    return next((name for name in KWARGS if name in known), KWARGS[0])
