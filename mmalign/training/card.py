"""The model card: what was trained, on what, how strongly, and how to load it."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from mmalign.config import RunConfig
from mmalign.diffusion.family import DiffusionFamily
from mmalign.files import write_whole
from mmalign.training.loop import Run

PACKAGES = ("mmalign", "torch", "diffusers", "transformers", "peft", "accelerate")


def write(folder: Path, family: DiffusionFamily, config: RunConfig, run: Run) -> None:
    """Writes ``README.md`` with the metadata that the hub reads."""
    write_whole(folder / "README.md", card(family, config, run).encode())


def card(family: DiffusionFamily, config: RunConfig, run: Run) -> str:
    """The card's text."""
    header = yaml.safe_dump(_metadata(family, config), sort_keys=False).strip()
    parts = [
        f"---\n{header}\n---",
        f"# {Path(config.output_dir).name}",
        _facts(family, config, run),
        "## Use",
        _usage(family, config),
        "## Versions",
        _versions(),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(family: DiffusionFamily, config: RunConfig) -> dict:
    tags = ["text-to-image", "diffusers", "preference-alignment", config.method.name]
    tags += [] if config.adapter.name == "full" else ["dora" if config.adapter.dora else "lora", "template:sd-lora"]
    return {"library_name": "diffusers", "base_model": _base(family, config), "tags": tags}


def _base(family: DiffusionFamily, config: RunConfig) -> str:
    return config.model.pretrained or getattr(family.pipe, "name_or_path", "") or type(family.pipe).__name__


def _facts(family: DiffusionFamily, config: RunConfig, run: Run) -> str:
    beta = getattr(run.objective, "beta", None)
    rows = {
        "Base": _base(family, config),
        "Method": f"`{config.method.name}` ({run.objective})",
        "Effective beta": "none" if beta is None else f"{beta:g}, on half the mean squared error",
        "Preferences": f"{run.plan.rows} rows from {config.data.source or 'memory'}",
        "Steps": f"{run.step} of {run.plan.rows_per_step} rows",
        "Learning rate": f"{run.learning_rate:g} ({config.train.lr_scheduler}, {config.train.optimizer})",
        "Trained": config.adapter.name if config.adapter.name == "full" else f"LoRA of rank {config.adapter.rank}",
        "Seed": str(config.seed),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _usage(family: DiffusionFamily, config: RunConfig) -> str:
    kind, base = type(family.pipe).__name__, _base(family, config)
    lines = [f"from diffusers import {kind}", "", f'pipe = {kind}.from_pretrained("{base}")']
    if config.adapter.name == "full":
        name = type(family.denoiser).__name__
        lines[0] = f"from diffusers import {kind}, {name}"
        lines.append(f'pipe.{family.denoiser_name} = {name}.from_pretrained("THIS_FOLDER", subfolder="{family.denoiser_name}")')
    else:
        lines.append('pipe.load_lora_weights("THIS_FOLDER")')
    return "\n".join(["```python", *lines, "```"])


def _versions() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in PACKAGES)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
