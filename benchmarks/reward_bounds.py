"""What bounds the time of a CLIP-type scorer: its arithmetic beside the machine's matrix products, decoding, and reading prompts."""

import time
from collections.abc import Callable

import torch


def transformer_flop(tokens: int, width: int, layers: int) -> int:
    """Floating-point operations of a transformer whose feed-forward layers are four times as wide; a multiplication and an addition are 2.

    Weights: 4 width^2 of attention and 8 width^2 of the feed-forward layers, each used once a token. Attention: tokens^2 products of
    queries with keys and as many of weights with values.
    """
    return layers * (2 * tokens * 12 * width**2 + 4 * tokens**2 * width)


def image_flop(model_cfg: dict) -> int:
    """Operations of a ViT's image encoder, for one image: patches, transformer, projection of one token."""
    vision = model_cfg["vision_cfg"]
    width, patch = vision["width"], vision["patch_size"]
    patches = (vision["image_size"] // patch) ** 2
    return 2 * patches * 3 * patch**2 * width + transformer_flop(patches + 1, width, vision["layers"]) + 2 * width * model_cfg["embed_dim"]


def text_flop(model_cfg: dict) -> int:
    """Operations of the text encoder, for one prompt; padding is computed, too."""
    text = model_cfg["text_cfg"]
    return transformer_flop(text["context_length"], text["width"], text["layers"]) + 2 * text["width"] * model_cfg["embed_dim"]


def peak_flops(device: str, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """Operations per second of the fastest of several products of large square matrices."""
    side = 2048 if device == "cpu" else 8192
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    one @ other
    return 2 * side**3 / min(repeated(lambda: one @ other, device, seconds))


def repeated(work: Callable[[], object], device: str, seconds: float = 0.5) -> list[float]:
    """Seconds of each of as many runs as fit, one at least; the processor's own seconds where one thread does it all."""
    clock = time.process_time if alone(device) else time.perf_counter
    rounds: list[float] = []
    while not rounds or sum(rounds) < seconds:
        _wait(device)
        started = clock()
        work()
        _wait(device)
        rounds.append(clock() - started)
    return rounds


def alone(device: str) -> bool:
    """Whether one thread of a processor does all the work, so that its own seconds tell more than the clock of a busy machine."""
    return device == "cpu" and torch.get_num_threads() == 1


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


@torch.no_grad()
def bounds(reward, plan: dict, rate: float) -> dict:
    """Facts about a run of ``rate`` images per second.

    Args:
        reward: the `hpsv2` that was measured.
        plan: what the sides of `rewards.py` read.
    """
    from mmalign.reward import opened

    config, device, files = plan["model_cfg"], plan["device"], plan["files"]
    # on a CPU a batch is no faster than its images, and takes minutes
    size = min(plan["batch_size"] if device != "cpu" else 4, len(files))
    texts = list(dict.fromkeys(plan["prompts"]))
    prepare_s = min(repeated(lambda: reward.prepare(opened(files[0])), "cpu"))
    pixels = torch.stack([reward.prepare(opened(file)) for file in files[:size]])
    encode_s = min(repeated(lambda: reward.image_embeddings(pixels), device)) / size
    text_s = min(repeated(lambda: reward.text_embeddings(texts), device)) / len(texts)
    # as long as the encoder was looked at, since a busy machine shows its peak now and then only
    peak = peak_flops(device, getattr(torch, plan["dtype"]), max(0.5, encode_s * size))
    image, text, per_image = image_flop(config), text_flop(config), len(texts) / len(files)
    return {
        "device": "CPU" if device == "cpu" else torch.cuda.get_device_name(),
        "image_flop": image,
        "text_flop": text,
        "peak_flops": peak,
        "share_of_peak": rate * (image + per_image * text) / peak,
        "encoder_share_of_peak": image / encode_s / peak,
        "prepare_s": prepare_s,
        "encode_s": encode_s,
        "text_s": text_s,
        "text_share": text_s * per_image * rate,
    }
