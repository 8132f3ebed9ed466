"""Memory of a training step: what `mmalign train --dry-run` estimates, beside what is measured.

    python benchmarks/memory.py                          # estimates for models of published size; no weights, no GPU
    python benchmarks/memory.py --measure                # and the peak of real steps: on a GPU, torch.cuda.max_memory_allocated
    python benchmarks/memory.py --models middle --measure    # without one, what torch's profiler sees the allocator give out
    python benchmarks/memory.py --models split           # estimates for one of several processes that a model is split among

The models have random weights of the published shapes, so that nothing is downloaded. Estimates are for CUDA's rules unless the measuring
is done on the CPU.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, UNet2DConditionModel
from torch.profiler import ProfilerActivity, profile
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from mmalign.config import AdapterConfig, FullConfig, LoraAdapterConfig, TrainConfig
from mmalign.diffusion.family import DiffusionFamily
from mmalign.diffusion.policy import DenoisingInputs, DiffusionPolicy
from mmalign.objectives.diffusion_dpo import DiffusionDPO
from mmalign.pipelines.sd import SD
from mmalign.pipelines.sd3 import SD3
from mmalign.pipelines.sdxl import SDXL
from mmalign.training.memory import GIB, Memory, estimate
from mmalign.training.optimizer import make_optimizer
from mmalign.training.prompted import PromptedDenoiser
from mmalign.training.split_memory import Split
from mmalign.training.trainable import trainable

if __package__:
    from benchmarks.step_models import CLIPS
else:
    from step_models import CLIPS

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
SDXL_SHAPE = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
}
MIDDLE_SHAPE = SDXL_SHAPE | {
    "block_out_channels": (64, 128, 256),
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": 8,
    "cross_attention_dim": 256,
    "projection_class_embeddings_input_dim": 6 * 256 + 128,
    "sample_size": 32,
}
SD3_SHAPE = {
    "sample_size": 128,
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
    "in_channels": 16,
}
SD35_SHAPE = SD3_SHAPE | {"pos_embed_max_size": 384, "qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13))}

ENCODERS = ("text_encoder", "text_encoder_2")
MIDDLE_CLIP = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "num_hidden_layers": 6, "projection_dim": 128}


@dataclass(frozen=True)
class Model:
    """A family, the shape of its denoiser, how wide and long its prompts are: embeddings, tokens, pooled embeddings; its text encoders."""

    family: type[DiffusionFamily]
    kind: type
    shape: dict[str, Any]
    width: int
    tokens: int
    pooled: int
    clips: tuple[dict[str, Any], dict[str, Any]] | None = None

    def opened(self, dtype: torch.dtype, device: str | None) -> DiffusionFamily:
        """The family with a random denoiser, and with CLIP's text encoders where they are known, on a device or without weights."""
        with init_empty_weights() if device is None else torch.device(device):
            parts = {self.family.denoiser_name: self.kind(**self.shape), **dict(zip(ENCODERS, self._encoders(), strict=False))}
            parts = {name: part.to(dtype).eval() for name, part in parts.items()}
        flow = self.kind is SD3Transformer2DModel
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0) if flow else DDIMScheduler(**NOISE)
        return self.family(SimpleNamespace(scheduler=scheduler, **parts))

    def _encoders(self) -> list[torch.nn.Module]:
        """Both, of the published shapes, or of smaller ones whose embeddings have the width that the denoiser takes."""
        if self.clips is None:
            return []
        kinds = (CLIPTextModel, CLIPTextModelWithProjection)
        return [kind(CLIPTextConfig(**shape)) for kind, shape in zip(kinds, self.clips, strict=True)]

    def inputs(self, pairs: int, side: int, dtype: torch.dtype, device: str, tokens: bool = False) -> DenoisingInputs:
        """A micro-batch of random pairs with latents of so many numbers a side."""
        channels, images = self.shape.get("in_channels", 4), 2 * pairs
        embeds = torch.randn(images, self.tokens, self.width, dtype=dtype, device=device)
        conditioning = {"encoder_hidden_states": embeds}
        if self.kind is SD3Transformer2DModel:
            conditioning["pooled_projections"] = torch.randn(images, self.pooled, dtype=dtype, device=device)
        elif self.pooled:
            conditioning["text_embeds"] = torch.randn(images, self.pooled, dtype=dtype, device=device)
            conditioning["time_ids"] = torch.randn(images, 6, device=device)
        latents = torch.randn(2, pairs, 2, channels, side, side, device=device)
        words = {name: torch.randint(0, 49408, (pairs, self.tokens), device=device) for name in ENCODERS} if tokens else {}
        return DenoisingInputs(latents[0], latents[1], torch.randint(0, 999, (pairs,), device=device), conditioning, tokens=words)


MODELS = {
    "middle": Model(SDXL, UNet2DConditionModel, MIDDLE_SHAPE, 256, 77, 128, (MIDDLE_CLIP, MIDDLE_CLIP)),
    "sd15": Model(SD, UNet2DConditionModel, {"cross_attention_dim": 768, "sample_size": 64, "attention_head_dim": 8}, 768, 77, 0),
    "sdxl": Model(SDXL, UNet2DConditionModel, SDXL_SHAPE, 2048, 77, 1280, CLIPS["true"]),
    "sd3": Model(SD3, SD3Transformer2DModel, SD3_SHAPE, 4096, 333, 2048),
    "sd35_medium": Model(SD3, SD3Transformer2DModel, SD35_SHAPE, 4096, 333, 2048),
}


WIDER = LoraAdapterConfig(rank=32)
LORA, TEXTS = LoraAdapterConfig(rank=8), LoraAdapterConfig(rank=8, text_encoders=True)
CHECKPOINTED = TrainConfig(mixed_precision="bf16", gradient_checkpointing=True)
PLAIN = TrainConfig(mixed_precision="bf16", gradient_checkpointing=False)


@dataclass(frozen=True)
class Case:
    """One way to train a model; by several processes it is split among them."""

    model: str
    pairs: int
    side: int
    adapter: AdapterConfig = LORA
    dtype: torch.dtype = torch.bfloat16
    train: TrainConfig = CHECKPOINTED
    processes: int = 1

    @property
    def texts(self) -> bool:
        """Whether text encoders are trained."""
        return getattr(self.adapter, "text_encoders", False)

    def __str__(self) -> str:
        how = f"LoRA {self.adapter.rank}" if self.adapter.name == "lora" else "full"
        how += " also in the text encoders" if self.texts else ""
        checkpointed = "checkpointed" if self.train.gradient_checkpointing else "not checkpointed"
        said = [self.model, how, str(self.dtype).removeprefix("torch."), self.train.mixed_precision, self.train.optimizer, checkpointed]
        among = f", split among {self.processes}" if self.processes > 1 else ""
        return f"{', '.join(said)}, {self.pairs} pairs of {self.side}{among}"


FULL = Case("sdxl", 1, 128, FullConfig(), train=TrainConfig(mixed_precision="bf16", gradient_checkpointing=True, optimizer="adafactor"))
CASES = {
    "middle": [
        Case("middle", 2, 32, dtype=torch.float32, train=TrainConfig(mixed_precision=precision, gradient_checkpointing=checkpointed))
        for precision in ("no", "bf16")
        for checkpointed in (False, True)
    ]
    + [
        Case("middle", 2, 32, FullConfig(), torch.float32, TrainConfig()),
        *(Case("middle", 2, 32, TEXTS, torch.float32, TrainConfig(gradient_checkpointing=checkpointed)) for checkpointed in (False, True)),
    ],
    "sd15": [Case("sd15", 4, 64), Case("sd15", 4, 64, train=PLAIN)],
    "sdxl": [
        *(Case("sdxl", 1, side) for side in (64, 96, 128)),
        *(Case("sdxl", pairs, 128) for pairs in (2, 4, 8)),
        *(Case("sdxl", pairs, 128, train=PLAIN) for pairs in (1, 2, 4)),
        *(Case("sdxl", pairs, 128, TEXTS) for pairs in (1, 8)),
        FULL,
        replace(FULL, train=FULL.train.model_copy(update={"gradient_accumulation_steps": 2})),
    ],
    "sd3": [Case("sd3", 1, 128), Case("sd3", 4, 128)],
    "sd35_medium": [Case("sd35_medium", pairs, side, WIDER) for pairs, side in ((4, 64), (16, 64), (4, 128), (8, 128))],
    "split": [Case("sdxl", 1, 128, FullConfig(), processes=processes) for processes in (1, 4, 8)],
}


def estimated(case: Case, device: str) -> Memory:
    """By counting, on a denoiser without weights."""
    model, objective = MODELS[case.model], DiffusionDPO(beta=2000.0)
    family = model.opened(case.dtype, None)
    trained, inputs = _trained(case, family), model.inputs(case.pairs, case.side, case.dtype, "cpu", case.texts)
    among = Split(*[case.processes] * 3)
    return estimate(family, trained.module, trained.reference, objective, inputs, case.train, device, split=among)


def measured(case: Case, device: str) -> int:
    """The peak of a second step, in bytes, with everything that lies on the device."""
    model, objective = MODELS[case.model], DiffusionDPO(beta=2000.0)
    family = model.opened(case.dtype, device)
    trained = _trained(case, family)
    autocast = _autocast(case.train.mixed_precision, device)
    policy = DiffusionPolicy(family, trained.module, trained.reference, autocast)
    parameters = [parameter for parameter in trained.module.parameters() if parameter.requires_grad]
    optimizer, inputs = make_optimizer(parameters, case.train, 1e-5), model.inputs(case.pairs, case.side, case.dtype, device, case.texts)

    def step() -> None:
        objective(policy, inputs).loss.mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated()
    held = [*trained.module.state_dict().values(), *(value for state in optimizer.state.values() for value in state.values())]
    held += list(getattr(trained.reference, "module", torch.nn.Module()).parameters())
    return sum(tensor.numel() * tensor.element_size() for tensor in held) + given_out(step)


def given_out(work: Callable[[], None]) -> int:
    """The most bytes that the CPU's allocator has given out at one time while something ran, above what it had before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    found: list[tuple[int, int]] = []
    waiting = list(seen.profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if str(event.tag).endswith("Allocation"):
            found.append((event.start_time_ns, event.extra_fields.alloc_size))
    now = peak = 0
    for _, size in sorted(found):
        now += size
        peak = max(peak, now)
    return peak


def _trained(case: Case, family: DiffusionFamily) -> Any:
    made = trainable(family, case.adapter, 0, autocast=case.train.mixed_precision != "no", give_back=False)
    if case.train.gradient_checkpointing:
        family.denoiser.enable_gradient_checkpointing()
        if isinstance(made.module, PromptedDenoiser):
            made.module.recompute = True
    return made


def _autocast(precision: str, device: str) -> Callable[[], Any]:
    return nullcontext if precision == "no" else partial(torch.autocast, device, torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=["sd15", "sdxl", "sd3"])
    parser.add_argument("--measure", action="store_true", help="take real steps too, on the GPU where there is one")
    arguments = parser.parse_args()
    on = "cuda" if torch.cuda.is_available() or not arguments.measure else "cpu"
    for case in (case for name in arguments.models for case in CASES[name]):
        start = time.perf_counter()
        counted = estimated(case, on)
        line = f"{case}: {counted.peak / GIB:.3f} GiB ({counted}) in {time.perf_counter() - start:.0f} s"
        if arguments.measure and case.processes == 1:
            peak = measured(case, on)
            line += f"; measured on {on} {peak / GIB:.3f} GiB, the estimate is {counted.peak / peak - 1:+.1%}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
