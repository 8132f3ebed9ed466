"""What the sides of `rewards.py` read: a checkpoint of random weights in HPSv2's published format, image files, and prompts.

Run as `reward_inputs.py PLAN`, a JSON file to which the places are added.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

CHECKPOINT = "HPS_v2.1_compressed.pt"
TINY = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
WORDS = ("red", "quiet", "glass", "river", "fox", "tower", "storm", "paper", "violet", "engine", "forest", "lamp")


def main() -> None:
    file = Path(sys.argv[1])
    plan = json.loads(file.read_text(encoding="utf-8"))
    torch.set_num_threads(plan["threads"])
    folder = Path(plan["folder"])
    plan["model_cfg"] = architecture(plan["arch"])
    plan["checkpoint"] = str(folder / CHECKPOINT)
    plan["parameters"] = write_checkpoint(plan["model_cfg"], folder)
    plan["files"] = [str(write_picture(folder, place, plan["image_size"])) for place in range(plan["images"])]
    plan["prompts"] = [prompt(place // plan["images_per_prompt"]) for place in range(plan["images"])]
    size = sum(Path(path).stat().st_size for path in plan["files"]) / len(plan["files"])
    texts = len(set(plan["prompts"]))
    plan["pictures"] = f"{plan['images']} JPEG files of {plan['image_size']} pixels and {size / 1e3:.0f} kB on average, {texts} prompts"
    file.write_text(json.dumps(plan), encoding="utf-8")


def architecture(name: str) -> dict:
    import open_clip

    found = TINY if name == "tiny" else open_clip.get_model_config(name)
    if found is None or found["vision_cfg"]["image_size"] != 224:
        sys.exit(f"{name!r} is no architecture of open_clip for pictures of 224 pixels, which is what the peers make")
    return found


def write_checkpoint(model_cfg: dict, folder: Path) -> int:
    """Half precision under the key ``state_dict``, as published, and the architecture beside it; gives the number of parameters.

    Embeddings of a model as it is initialized hardly depend on picture and prompt, so weights of rank two and more are enlarged a little.
    """
    import open_clip

    torch.manual_seed(0)
    model = open_clip.CLIP(**model_cfg)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(1.3)
    torch.save({"state_dict": {name: value.half() for name, value in model.state_dict().items()}}, folder / CHECKPOINT)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}), encoding="utf-8")
    return sum(weight.numel() for weight in model.parameters())


def write_picture(folder: Path, place: int, size: int) -> Path:
    """Random colors at every scale from an eighth of the picture to a grain, so that a file is about as hard to decode as a photograph."""
    random = np.random.default_rng(place)
    pixels, cells = np.zeros((size, size, 3)), 8
    while cells < size:
        field = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
        pixels += (np.asarray(field, dtype=float) - 127.5) * 8 / cells
        cells *= 4
    path = folder / f"{place:05}.jpg"
    Image.fromarray(np.clip(pixels + 127.5, 0, 255).astype(np.uint8)).save(path, quality=95)
    return path


def prompt(place: int) -> str:
    random = np.random.default_rng(place)
    return f"picture {place}: " + " ".join(random.choice(WORDS, 12))


if __name__ == "__main__":
    main()
