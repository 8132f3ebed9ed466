"""A process that knows the stock libraries alone: it loads a base and an adapter, and draws."""

import subprocess
import sys

import torch

SCRIPT = """
import sys, torch, diffusers
pipe = diffusers.{kind}.from_pretrained(sys.argv[1])
pipe.set_progress_bar_config(disable=True)
pipe.load_lora_weights(sys.argv[2])
noise = torch.Generator().manual_seed(3)
made = pipe("a red circle", num_inference_steps=2, guidance_scale=2.0, generator=noise, output_type="pt").images[0]
torch.save(made.clone(), sys.argv[3])
assert not [name for name in sys.modules if name.split(".")[0] == "mmalign"]
"""


def drawn_without_mmalign(base, adapter, folder, kind="StableDiffusionXLPipeline"):
    """The picture (3, H, W) of "a red circle" in two steps at guidance 2 from the noise of seed 3; ``folder`` is for the script's files."""
    script, made = folder / "stock.py", folder / "made.pt"
    script.write_text(SCRIPT.format(kind=kind))
    command = [sys.executable, "-I", script, base, adapter, made]
    finished = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=folder, check=False)
    assert finished.returncode == 0, finished.stderr
    return torch.load(made, weights_only=True)
