"""A CLIPModel's folder without a processor, and the processor in another folder."""

from pathlib import Path

from tests.scorers.clips import CLIP_RECIPE, clip, processor


def fields(folder: Path) -> dict:
    clip(folder / "weights")
    for path in (folder / "weights").iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    processor(folder / "processor", CLIP_RECIPE)
    return {"pretrained": str(folder / "weights"), "processor": str(folder / "processor")}
