"""What the sides of `step.py` learn from: a base in the stock format, pairs of pictures, and caches that are full."""

import argparse
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

if __package__:
    from benchmarks.step_models import PIXELS, write_base
else:
    from step_models import PIXELS, write_base

from mmalign.config import RunConfig, from_mapping
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic

PROMPTS = ["a red circle", "a blue square", "a green triangle", "a yellow star"]
FLAGS = ("gradient_checkpointing", "compile", "channels_last")
"""Switches of the benchmark that are part of what was measured."""
BETAS = {"sdxl": 5000, "sd3": 100}
"""Of the diffusers script, and of flow_grpo."""


def serve(name: str, pipe: Any, options: argparse.Namespace, folder: Path) -> None:
    """Makes everything when asked, and says what filling the caches took, in processor seconds."""
    from mmalign.cli.quiet import quiet

    quiet(pipelines=True)
    try:
        while pipe.recv() != "end":
            pipe.send(make(options, folder))
    except Exception as error:  # noqa: BLE001, told by who asked
        pipe.send(f"{name}: {type(error).__name__}: {error}")


def make(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Writes pairs and, for all but the embedded models, a base; fills the caches."""
    from mmalign.training.fill import fill

    if options.size != "tiny":
        write_base(options.family, options.size, folder / "base", options.device)
    generator, side = np.random.default_rng(0), PIXELS[options.size]
    pictures = [picture(generator, side) for _ in range(2 * options.pairs)]
    if true_size(options):
        pictures = [as_jpeg(one) for one in pictures]  # as Pick-a-Pic has them
    pairs = [Example(PROMPTS[i % len(PROMPTS)], (pictures[2 * i], pictures[2 * i + 1])) for i in range(options.pairs)]
    write_pickapic(pairs, folder / "pairs.parquet")
    encoded = timed(lambda: fill(configuration("encoded", options, folder)))
    return {"latents and embeddings": encoded, "reference errors": timed(lambda: fill(configuration("errors", options, folder)))}


def timed(do: Callable[[], object]) -> float:
    """Processor seconds, those of the GPU's work by the clock."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    do()
    return clock() - start


def picture(generator: np.random.Generator, side: int) -> Image.Image:
    """Smooth noise, which compresses about as a photograph does."""
    coarse = generator.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image) -> bytes:
    """The content of a file."""
    stream = BytesIO()
    image.save(stream, "jpeg", quality=95)
    return stream.getvalue()


def true_size(options: argparse.Namespace) -> bool:
    """Whether a model of the published shape is trained, in bfloat16; ``options.exact`` asks for float32 all the same."""
    return options.size not in ("tiny", "mid") and not getattr(options, "exact", False)


def configuration(name: str, options: argparse.Namespace, folder: Path) -> RunConfig:
    """The run of a side."""
    true = true_size(options)
    base = f"shapes/{options.family}" if options.size == "tiny" else str(folder / "base")
    values: dict[str, Any] = {
        "model": {"pretrained": base, "dtype": "bfloat16" if true else "float32"},
        "adapter": {"name": "lora", "rank": 16},
        "data": {"source": str(folder / "pairs.parquet"), "cache_dir": str(folder / "cache")},
        "method": {"name": "diffusion_dpo", "beta": BETAS[options.family]},
        "train": {
            "max_train_steps": 1 + options.warmup + options.steps * options.turns,
            "train_batch_size": options.batch_size,
            "learning_rate": 1e-5,
            "report_to": "none",
            "mixed_precision": "bf16" if true else "no",
            "gradient_checkpointing": options.gradient_checkpointing,
        },
        "speed": {"compile": "inductor" if options.compile else "none", "channels_last": options.channels_last},
        "output_dir": str(folder / name),
    }
    if name == "errors":
        values["data"]["reference_draws"] = options.draws
    return from_mapping(values)
