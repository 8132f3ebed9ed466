"""A checkpoint of open_clip in half precision under the key ``state_dict``, in a file of the published name; the architecture beside it."""

import json
from pathlib import Path

import torch

from mmalign.scorers.open_clip import CONFIG
from tests.scorers.clips import OPEN_CLIP_ARCH, open_clip_model


def fields(folder: Path) -> dict:
    model = open_clip_model().half()
    torch.save({"state_dict": model.state_dict()}, folder / "HPS_v2.1_compressed.pt")
    (folder / CONFIG).write_text(json.dumps(OPEN_CLIP_ARCH))
    return {"pretrained": str(folder)}
