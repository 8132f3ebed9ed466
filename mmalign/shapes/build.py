"""``mmalign shapes build``: train the embedded models from scratch and write them with their recipe.

mmalign shapes build                                    all pipelines, where the package keeps them (about an hour on one core)
mmalign shapes build --family sdxl --out my --seed 1    one of them, elsewhere
mmalign shapes build --family clip --out my             the scorer before it learns from preferences: see configs/reward/shapes_clip.yaml
mmalign shapes build --family vlm --out my              the model that answers questions (a quarter of an hour)
mmalign shapes build --effort 0.01 --out scratch        a few steps of everything, to see that it runs
"""

import argparse
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmalign.errors import UserError
from mmalign.shapes import models
from mmalign.shapes.captions import prompts
from mmalign.shapes.recipes import denoise, scorer, sd, sd3, sdxl, text, vae, vlm
from mmalign.shapes.recipes.assess import assess, sample
from mmalign.shapes.recipes.denoise import Round
from mmalign.shapes.recipes.loop import Fit

LOG = logging.getLogger(__name__)

DRAWS = 12  # styles of each seen caption among the latents
STEPS = {"vae": 2800, "text": 400, "scorer": 1400}
ROUNDS = {
    "sdxl": (Round(2200, 6e-3, caption_noise=0.35), Round(900, 4e-3, caption_noise=0.27)),
    "sdxl_epsilon": (Round(1900, 6e-3, caption_noise=0.2),),
    "sd3": (Round(1400, 8e-3), Round(400, 4e-3, caption_noise=0.15)),
    "sd": (Round(1600, 6e-3, caption_noise=0.1), Round(500, 4e-3, caption_noise=0.1)),
}
ASSESSED = ({"steps": 16, "guidance": 3.0}, {"steps": 12, "guidance": 2.0})  # for looking at, and as the demo draws
Rounds = Sequence[Round]
PACKAGES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Shared:
    """What all pipelines have in common, and the record of its training."""

    vae: nn.Module
    words: Any
    encoders: tuple[nn.Module, nn.Module]
    latents: denoise.Latents
    record: dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    families = options.family or list(models.NAMES)
    if models.SCORER in families:
        families.remove(models.SCORER)
        build_scorer(options.out / models.SCORER, options.seed, options.effort)
    if models.VLM in families:
        families.remove(models.VLM)
        build_vlm(options.out / models.VLM, options.seed, options.effort)
    shared = prepare(options.seed, options.effort, options.vae) if families else None
    for name in families:
        folder = options.out / name
        record = build(name, shared, folder, options.seed, options.effort)
        LOG.info("%s: all five attributes right on %.0f %% of held-out prompts", folder, 100 * record["accuracy"][0]["all_five"])
    return 0


def prepare(seed: int, effort: float = 1.0, vae_from: Path | None = None) -> Shared:
    """Train the autoencoder and the text encoders, and encode the training pictures with them as they will be shipped.

    With ``vae_from``, a folder that an earlier build has written, the autoencoder is taken from there.
    """
    autoencoder = vae.train(seed, steps=_steps("vae", effort)) if vae_from is None else _built_vae(vae_from)
    words = text.tokenizer()
    readers = [text.train(words, seed + i, steps=_steps("text", effort)) for i in (0, 1)]
    for fitted in (autoencoder, *readers):
        fitted.model.half().float()
    latents = denoise.cache_latents(autoencoder.model, max(1, round(DRAWS * effort)), torch.Generator().manual_seed(seed + 3))
    record = {"vae": autoencoder.record, "text_encoder": readers[0].record, "text_encoder_2": readers[1].record}
    return Shared(autoencoder.model, words, (readers[0].model, readers[1].model), latents, record)


def build(name: str, shared: Shared, folder: Path, seed: int, effort: float = 1.0) -> dict[str, Any]:
    """Train one pipeline, write it in half precision with ``recipe.json``, and return that record."""
    start = time.time()
    fitted, pipe = BUILDERS[name](shared, seed + 10, _rounds(name, effort))
    write(pipe, folder)
    held_out = prompts("final")[: max(8, round(240 * effort))]
    shipped = type(pipe).from_pretrained(folder)
    accuracy = [call | assess(sample(shipped, held_out, **call), held_out) for call in ASSESSED]
    parts = {part: module for part, module in pipe.components.items() if isinstance(module, nn.Module)}
    record = {
        "pipeline": type(pipe).__name__,
        "seed": seed,
        "effort": effort,
        "training": {**shared.record, "denoiser": fitted.record},
        "parameters": {part: sum(p.numel() for p in module.parameters()) for part, module in parts.items()},
        "assessed": {"split": "final", "prompts": len(held_out)},
        "accuracy": accuracy,
        "wall_seconds": round(time.time() - start),
        "versions": {package: version(package) for package in PACKAGES},
    }
    (folder / "recipe.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def build_scorer(folder: Path, seed: int, effort: float = 1.0) -> dict[str, Any]:
    """Train the scorer on renders, write it with ``recipe.json``, and return that record."""
    words = text.tokenizer()
    reader = text.train(words, seed + 1, steps=_steps("text", effort))
    fitted = scorer.pretrain(words, reader.model, seed, steps=_steps("scorer", effort))
    for part in (fitted.model, words, scorer.processor()):
        part.save_pretrained(folder)
    record = {
        "model": type(fitted.model).__name__,
        "seed": seed,
        "effort": effort,
        "training": {"text_encoder": reader.record, "on_renders": fitted.record},
        "parameters": sum(p.numel() for p in fitted.model.parameters()),
        "versions": {package: version(package) for package in PACKAGES},
    }
    (folder / "recipe.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def build_vlm(folder: Path, seed: int, effort: float = 1.0) -> dict[str, Any]:
    """Train the model that answers questions, write it in half precision with ``recipe.json``, and return that record."""
    words = vlm.tokenizer()
    model, training = vlm.train_base(words, seed, effort)
    model.to(torch.float16).save_pretrained(folder)
    vlm.processor(words).save_pretrained(folder)
    _plain(folder / "config.json", float32=True)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)
    record = {
        "model": type(model).__name__,
        "seed": seed,
        "effort": effort,
        "training": training,
        "parameters": sum(p.numel() for p in model.parameters()),
        "accuracy": vlm.assess(model.float(), words, effort),
        "versions": {package: version(package) for package in PACKAGES},
    }
    (folder / "recipe.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def write(pipe: Any, folder: Path) -> None:
    """Save in half precision; a plain load gives float32 throughout.

    diffusers loads its models in float32 where nothing is said, transformers in what the configuration names.
    """
    pipe.to(torch.float16).save_pretrained(folder)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # written for the owner alone, which a wheel would keep
    for file in (*folder.glob("*/config.json"), folder / "model_index.json"):
        _plain(file, float32=file.parent.name.startswith("text_encoder"))
    pipe.to(torch.float32)


def _plain(file: Path, float32: bool) -> None:
    """A configuration without the folder of the machine that built it, and with the number format that a plain load gives."""
    config = json.loads(file.read_text())
    config.pop("_name_or_path", None)
    if float32:
        config["dtype"] = "float32"
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _build_sdxl(prediction: str) -> Callable[[Shared, int, Rounds], tuple[Fit, Any]]:
    def run(shared: Shared, seed: int, rounds: Rounds) -> tuple[Fit, Any]:
        fitted = sdxl.train_base(shared.latents, sdxl.conditions(shared.words, shared.encoders), prediction, rounds, seed)
        encoders = (text.without_projection(shared.encoders[0]), shared.encoders[1])
        return fitted, sdxl.pipeline(shared.vae, shared.words, encoders, fitted.model, prediction)

    return run


def _build_sd3(shared: Shared, seed: int, rounds: Rounds) -> tuple[Fit, Any]:
    fitted = sd3.train_base(shared.latents, sd3.conditions(shared.words, shared.encoders), rounds, seed)
    return fitted, sd3.pipeline(shared.vae, shared.words, shared.encoders, fitted.model)


def _build_sd(shared: Shared, seed: int, rounds: Rounds) -> tuple[Fit, Any]:
    encoder = text.without_projection(shared.encoders[0])
    fitted = sd.train_base(shared.latents, sd.conditions(shared.words, encoder), rounds, seed)
    return fitted, sd.pipeline(shared.vae, shared.words, encoder, fitted.model)


BUILDERS = {"sdxl": _build_sdxl("v_prediction"), "sdxl_epsilon": _build_sdxl("epsilon"), "sd3": _build_sd3, "sd": _build_sd}


def _built_vae(folder: Path) -> Fit:
    from diffusers import AutoencoderKL

    if not (folder / "recipe.json").is_file():
        raise UserError(f"--vae {folder} holds no recipe.json; give the folder of a pipeline that `mmalign shapes build` has written")
    record = json.loads((folder / "recipe.json").read_text())["training"]["vae"]
    return Fit(AutoencoderKL.from_pretrained(folder / "vae").requires_grad_(False), record)


def _rounds(name: str, effort: float) -> Rounds:
    return [replace(stretch, steps=max(2, round(stretch.steps * effort))) for stretch in ROUNDS[name]]


def _steps(name: str, effort: float) -> int:
    return max(2, round(STEPS[name] * effort))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mmalign shapes build", description="Train the embedded models from scratch.")
    which = "one model; may be repeated; all pipelines where left out"
    parser.add_argument("--family", choices=[*models.NAMES, models.SCORER, models.VLM], action="append", help=which)
    parser.add_argument("--out", type=Path, default=models.WEIGHTS, help="folder to write to; the package's own where left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", type=float, default=1.0, help="share of the steps, pictures and prompts")
    parser.add_argument("--vae", type=Path, help="take the autoencoder from this pipeline of an earlier build")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser
