"""The sides of `cache.py`, each a process that is asked for turns of steps."""

import argparse
import io
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

if __package__:
    from benchmarks.cache_inputs import SIDES, configuration
else:
    from cache_inputs import SIDES, configuration

from mmalign import data, pipelines
from mmalign.cli.quiet import quiet
from mmalign.data.cache import TensorCache
from mmalign.training import diffusion, encoder
from mmalign.training.dataset import EncodedExamples, collate
from mmalign.training.loop import train_step
from mmalign.training.opened import Held
from mmalign.training.run import batches, make_accelerator

Step = Callable[[], Any]


def serve(name: str, pipe: Any, options: argparse.Namespace, folder: Path) -> None:
    """Loads when asked to start, with one step that is counted and not timed; then gives turns."""
    quiet(pipelines=True)
    before = resident()
    try:
        assert pipe.recv() == "start"
        with WAYS.get(name, cached)(name, options, folder) as step:
            with FlopCounterMode(display=False) as counted:
                step()
            pipe.send({"gflop": counted.get_total_flops() / 1e9})
            while (asked := pipe.recv()) != "end":
                pipe.send(turn(step, options) if asked == "turn" else memory(before, options.device))
    except Exception as error:  # noqa: BLE001, told by who asked
        pipe.send(f"{name}: {type(error).__name__}: {error}")


def turn(step: Step, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each step, by the clock and of the processor."""
    found: dict[str, list[float]] = {"clock": [], "processor": []}
    for _ in range(options.steps):
        clock, processor = time.perf_counter(), time.process_time()
        step()
        if options.device == "cuda":
            torch.cuda.synchronize()
        found["clock"].append(time.perf_counter() - clock)
        found["processor"].append(time.process_time() - processor)
    return found


def resident() -> float:
    """The process's memory of now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def memory(before: float, device: str) -> float:
    """The peak, MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


@contextmanager
def cached(name: str, options: argparse.Namespace, folder: Path) -> Iterator[Step]:
    """A run as `mmalign train` makes it, over full caches."""
    config = configuration(name, options, folder)
    with diffusion.building(config, make_accelerator(config.train, config.output_dir), config.output_dir) as parts:
        stream = batches(parts, 0)
        yield lambda: train_step(parts.run, stream)


@contextmanager
def live(name: str, options: argparse.Namespace, folder: Path) -> Iterator[Step]:
    """The same run, whose pictures and prompts are encoded at every step."""
    config = configuration(name, options, folder)
    config = config.model_copy(update={"data": config.data.model_copy(update={"cache_dir": None})})
    family = pipelines.configured(config.model)
    with diffusion.building(config, make_accelerator(config.train, config.output_dir), config.output_dir, pipe=family.pipe) as parts:
        for module in (family.pipe.vae, *family.text_encoders):
            module.to(parts.run.accelerator.device)
        encoding = encoder.Encoder(Held(family), config.data, config.seed)
        examples, dataset = data.load("auto", folder / "pairs.parquet"), parts.dataset

        def encoded() -> Iterator[Any]:
            for items in parts.run.plan.from_step(0, config.train.max_train_steps):
                cache, rows = TensorCache(), [dataset.rows[index] for index, _ in items]
                cache.put(encoding.images([(row, examples[index]) for row, (index, _) in zip(rows, items, strict=True)]))
                encoding.fill_prompts(
                    cache, {row.prompt: examples[index].prompt for row, (index, _) in zip(rows, items, strict=True)}, False
                )
                now = EncodedExamples(rows, cache, dataset.empty_prompt, 0.0, config.seed)
                yield collate([now[place, position] for place, (_, position) in enumerate(items)])

        stream = encoded()
        yield lambda: train_step(parts.run, stream)


@contextmanager
def diffusers_way(name: str, options: argparse.Namespace, folder: Path) -> Iterator[Step]:
    """What the script does at a step: decode, resize and cut both pictures; encode them in float32; encode the prompts; ask the model,
    then the model without its adapter; compare; step."""
    from diffusers import DDPMScheduler
    from peft import LoraConfig

    config = configuration(name, options, folder)
    pipe = pipelines.configured(config.model).pipe.to(options.device)
    unet, vae, dtype = pipe.unet, pipe.vae.to(torch.float32), pipe.unet.dtype
    for module in (unet, vae, pipe.text_encoder, pipe.text_encoder_2):
        module.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=16, lora_alpha=16, init_lora_weights="gaussian", target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    unet.train()
    noising = DDPMScheduler.from_config(pipe.scheduler.config)
    optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=1e-2)
    autocast = torch.autocast(options.device, torch.bfloat16, enabled=dtype != torch.float32)
    examples, side = list(data.load("auto", folder / "pairs.parquet")), SIDES[options.size]
    chosen = np.random.default_rng(0)

    def step() -> float:
        rows = [examples[i] for i in chosen.choice(len(examples), options.batch_size, replace=False)]
        pairs = [opened(row, side) for row in rows]
        pixels = torch.stack([pair[k] for k in range(2) for pair in pairs]).to(options.device)
        with torch.no_grad():
            parts = [vae.encode(part).latent_dist.sample() for part in pixels.split(8)]
            latents = (torch.cat(parts) * vae.config.scaling_factor).to(dtype)
            embeds, pooled = embedded(pipe, [row.prompt for row in rows])
        noise = torch.randn_like(latents).chunk(2)[0].repeat(2, 1, 1, 1)
        times = torch.randint(0, noising.config.num_train_timesteps, (len(rows),), device=latents.device).repeat(2)
        noisy = noising.add_noise(latents, noise, times)
        velocity = noising.config.prediction_type == "v_prediction"
        target = noising.get_velocity(latents, noise, times) if velocity else noise
        ids = torch.tensor([[side, side, 0, 0, side, side]] * 2 * len(rows), device=latents.device, dtype=dtype)
        told = {"time_ids": ids, "text_embeds": pooled.repeat(2, 1)}

        def errors() -> torch.Tensor:
            with autocast:
                prediction = unet(noisy, times, embeds.repeat(2, 1, 1), added_cond_kwargs=told).sample
            winner, loser = F.mse_loss(prediction.float(), target.float(), reduction="none").mean([1, 2, 3]).chunk(2)
            return winner - loser

        ours = errors()
        unet.disable_adapters()
        with torch.no_grad():
            theirs = errors()
        unet.enable_adapters()
        loss = -F.logsigmoid(-0.5 * 5000 * (ours - theirs)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    yield step


def opened(row: Any, side: int) -> list[torch.Tensor]:
    """Both pictures (3, H, W) in [-1, 1], the second first brought to the first one's size."""
    pictures = [Image.open(io.BytesIO(image)).convert("RGB") for image in row.images]
    pictures[1] = pictures[1].resize(pictures[0].size)
    tensors = torch.cat([torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 for picture in pictures])[None]
    tensors = F.interpolate(tensors, size=(side, side), mode="bilinear", antialias=True)[0]
    if torch.rand(()) < 0.5:
        tensors = tensors.flip(-1)
    return list(((tensors - 0.5) / 0.5).chunk(2))


def embedded(pipe: Any, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (B, T, D) of both encoders' last but one states, and the pooled ones of the second."""
    states = []
    for tokenizer, text_encoder in ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)):
        ids = tokenizer(
            prompts, padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
        ).input_ids
        said = text_encoder(ids.to(text_encoder.device), output_hidden_states=True)
        states.append(said.hidden_states[-2])
    return torch.cat(states, dim=-1), said[0]


WAYS = {"live": live, "diffusers": diffusers_way}
