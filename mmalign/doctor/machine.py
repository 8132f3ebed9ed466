"""Memory, GPUs, disks and the hub's token."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mmalign.config.shipped import preset
from mmalign.doctor.check import Check
from mmalign.errors import UserError

GIB = 2**30
LITTLE_CACHE, LITTLE_OUTPUT = 20, 2
"""Free space, GiB, below which SDXL with a data set, or a run's checkpoints, may not fit."""


def checks() -> Iterator[Check]:
    """All of them."""
    yield memory()
    yield from gpus()
    yield from disks()
    yield token()


def memory() -> Check:
    """The machine's memory."""
    import psutil

    found = psutil.virtual_memory()
    return Check("memory", "ok", f"{found.total / GIB:.0f} GiB, {found.available / GIB:.0f} free; {os.cpu_count()} processor cores")


def gpus() -> Iterator[Check]:
    """A check for each GPU, or one that there is none."""
    import torch

    if torch.cuda.is_available():
        said = driver()
        for number in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(number)
            free = torch.cuda.mem_get_info(number)[0]
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            text = f"{found.name}, {found.total_memory / GIB:.1f} GiB ({free / GIB:.1f} free), "
            text += f"compute capability {found.major}.{found.minor}, {'bf16' if bf16 else 'no bf16'}, CUDA {torch.version.cuda}"
            text += f", driver {said}" if said else ""
            remedy = "" if bf16 else "use train.mixed_precision fp16 and model.dtype float16"
            yield Check(f"gpu {number}", "ok" if bf16 else "note", text, remedy)
    elif torch.backends.mps.is_available():
        yield Check("gpu", "note", "Apple's, by MPS; nothing was tested on it", "the embedded models run on the CPU")
    elif (said := driver()) is not None:
        remedy = f"torch {torch.__version__} is built for CUDA {torch.version.cuda}; update the driver, or install torch for an older CUDA"
        yield Check("gpu", "note", f"there is one with driver {said}, but torch cannot use it", remedy)
    else:
        yield Check(
            "gpu", "note", "none: the embedded models run, SD and larger ones take days", "use a machine with an NVIDIA GPU for these"
        )


def first_step() -> str:
    """What to type next: a preset for the largest GPU, or the demo, which needs none."""
    import torch

    demo = "`mmalign demo` does the whole job on the embedded world"
    sizes = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
    size = round(max(sizes, default=0) / 1e9)
    try:
        preset("sdxl", size)
    except UserError:
        return f"To start: {demo}."
    return f"To start: {demo}; `mmalign configs copy sdxl --memory {size}` is a run on SDXL that fits this GPU."


def driver() -> str | None:
    """The version of NVIDIA's driver, where its own tool tells it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = found.stdout.split()
    return lines[0] if lines else None


def disks() -> Iterator[Check]:
    """The hub's cache, and the folder that results go to."""
    from huggingface_hub.constants import HF_HUB_CACHE

    yield disk("hub cache", Path(HF_HUB_CACHE), LITTLE_CACHE, "set HF_HOME to a larger disk")
    yield disk("working folder", Path.cwd(), LITTLE_OUTPUT, "give an output_dir on a larger disk")


def disk(name: str, place: Path, little: float, remedy: str) -> Check:
    """Space and rights at a place, or where it would be made."""
    there = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    if not os.access(there, os.W_OK):
        return Check(name, "note", f"{place} cannot be written", remedy)
    said = f"{free:.0f} GiB free at {place}"
    return Check(name, "ok", said) if free >= little else Check(name, "note", f"only {said}", remedy)


def token() -> Check:
    """Whether there is a token for the hub. It is not shown, and nobody is asked whether it is valid."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        return Check("hub", "note", "HF_HUB_OFFLINE is set: only what was downloaded can be used", "unset it to download")
    if get_token():
        return Check("hub", "ok", "a token is there")
    return Check("hub", "note", "no token: gated models and mmalign push will not work", "run `hf auth login`")
