"""HPSv2 and HPSv2.1: a CLIP trained on the preferences of HPDv2."""

from pathlib import Path
from typing import Literal

from torch import Tensor

from mmalign.errors import UserError
from mmalign.scorers.checkpoint import locate
from mmalign.scorers.clip import ClipReward
from mmalign.scorers.model import Dtype
from mmalign.scorers.open_clip import CONFIG, OpenClip, load_open_clip
from mmalign.scorers.preprocess import Preprocess
from mmalign.shapes.models import resolve

FILES = {"2.1": "HPS_v2.1_compressed.pt", "2.0": "HPS_v2_compressed.pt"}
ARCH = "ViT-H-14"


class HPSv2(ClipReward):
    """Wu and others, "Human Preference Score v2" (2023): the cosine between image and prompt, as ``hpsv2.score`` gives it.

    Its benchmark prints 100 times the mean. Scores compare under one prompt and one version only. Pictures keep their sides: the longer one
    is brought to 224 by a bicubic resize of the tensor, the rest is black. The published package leaves antialiasing to torchvision, where
    it has been on since 0.17; it is on here. It also runs in mixed precision on a GPU, where this runs in ``dtype``. An image with
    transparency, which the package cannot read, is laid on white. Gradients flow through the same preparation that files get.

    Args:
        version: "2.1" or "2.0"; in YAML with the quotes, without which it is a number.
        pretrained: hub id or folder that holds the checkpoint of the version, or the checkpoint file itself, or a folder of open_clip.
        arch: the checkpoint's architecture, by open_clip's name or as its JSON file; None = the open_clip_config.json beside it, else
            ViT-H-14.
        revision: branch, tag or commit on the hub.
        device: where the model runs; "auto" = the accelerator where there is one.
        dtype: number format of the weights.
        batch_size: images scored at once.
    """

    needs_prompt = True
    range = (-1.0, 1.0)
    unit = "cosine"
    licence = "Apache-2.0"
    source = "arXiv 2306.09341, xswu/HPSv2"

    def __init__(
        self,
        version: Literal["2.1", "2.0"] = "2.1",
        pretrained: str = "xswu/HPSv2",
        arch: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "float32",
        batch_size: int = 32,
    ) -> None:
        super().__init__(device, dtype, batch_size)
        if version not in FILES:
            raise UserError(f"reward 'hpsv2' has no version {version!r}; give '2.1' or '2.0', with the quotes")
        clip = _load(resolve(pretrained), FILES[version], arch, revision)
        clip.preprocess = Preprocess(size=clip.preprocess.size, fit="pad")
        self.clip = self.place(clip)

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        return (images * texts).sum(-1)


def _load(place: str, file: str, arch: str | None, revision: str | None) -> OpenClip:
    folder = Path(place).expanduser()
    if (folder / CONFIG).is_file() and not (folder / file).is_file():
        return load_open_clip(folder, arch)
    path = locate(place, file, revision)
    beside = path.parent / CONFIG
    return load_open_clip(path, arch or (beside if beside.is_file() else ARCH))


PLUGIN = HPSv2
