"""The model card: what was trained, on what, how strongly, how well, and how to load it."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from mmalign.files import write_whole
from mmalign.training.guard import Guard
from mmalign.training.log import METRICS_FILE, read_metrics
from mmalign.training.parts import About, Parts
from mmalign.training.validation import SAMPLES

PACKAGES = ("mmalign", "torch", "diffusers", "transformers", "peft", "accelerate", "open_clip_torch")
MEASURED = "eval_"  # how the names of held-out numbers begin


def write(folder: Path, parts: Parts) -> None:
    """Writes ``README.md`` with the metadata that the hub reads."""
    write_whole(folder / "README.md", card(parts).encode())


def card(parts: Parts) -> str:
    """The card's text."""
    header = yaml.safe_dump(_metadata(parts.about), sort_keys=False).strip()
    sections = [
        f"---\n{header}\n---",
        f"# {Path(parts.config.output_dir).name}",
        _facts(parts),
        *_samples(parts),
        "## Use",
        "\n".join(["```python", *parts.about.usage, "```"]),
        "## Versions",
        ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(about: About) -> dict:
    return {"library_name": about.library, "base_model": about.base, "tags": list(about.tags)}


def _facts(parts: Parts) -> str:
    run, config, about = parts.run, parts.config, parts.about
    rows = {
        "Base": about.base,
        "Method": f"`{config.method.name}` ({run.objective})",
        **{name.capitalize(): "; ".join(" ".join(line.split()) for line in value.splitlines()) for name, value in about.strengths.items()},
        "Preferences": f"{run.plan.rows} rows from {config.data.source or 'memory'}",
        "Steps": f"{run.step} of {run.plan.rows_per_step} rows: {run.step * run.plan.rows_per_step / run.plan.rows:.3g} epochs",
        "Learning rate": f"{run.learning_rate:g}{run.apart or ''} ({config.train.lr_scheduler}, {config.train.optimizer})",
        "Trained": about.trained,
        "The guard saw": _seen(run.guard),
        "Seed": str(config.seed),
        **_measured(run.output_dir / METRICS_FILE),
        "Command": "`mmalign train config.yaml`, with the file in this folder",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _samples(parts: Parts) -> list[str]:
    """The last pictures that were drawn during the run, with their prompts; empty where none were."""
    grids = sorted((parts.run.output_dir / SAMPLES).glob("step-*.png"))
    if not grids:
        return []
    config, step = parts.config.validation, int(grids[-1].stem.removeprefix("step-"))
    prompts = "; ".join(f"*{prompt}*" for prompt in config.prompts)
    how = f"Drawn in {config.num_inference_steps} steps with guidance {config.guidance_scale:g}."
    return ["## Samples", f"![Pictures at step {step}]({SAMPLES}/{grids[-1].name})", f"Step {step}, from left to right: {prompts}. {how}"]


def _measured(path: Path) -> dict[str, str]:
    """The first and the last of the numbers on held-out data, by name."""
    found: dict[str, list[str]] = {}
    for line in read_metrics(path):
        for name, value in line.items():
            if name.startswith(MEASURED):
                found.setdefault(name.removeprefix(MEASURED), []).append(f"{value:.4g} at step {line['step']}")
    return {f"Held out: {name}": values[-1] + (f" ({values[0]})" if len(values) > 1 else "") for name, values in found.items()}


def _seen(guard: Guard) -> str:
    """What the guard saw, by kind, step and what was done."""
    if not guard.events:
        return "nothing"
    rate = f"; the learning rate was multiplied by {guard.rate:.3g} in all" if guard.rollbacks else ""
    return ", ".join(f"{event['event']} at step {event['seen_at']} ({event['action']})" for event in guard.events) + rate


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
