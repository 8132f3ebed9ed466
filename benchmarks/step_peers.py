"""The other sides of `step.py`: what two public trainers do at a step, read in their code and written anew.

Both compare a batch whose first half are the winners and whose second half are the losers, in this order.
"""

import argparse
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import Tensor

if __package__:
    from benchmarks.step_inputs import BETAS, configuration, true_size
    from benchmarks.step_models import PIXELS
else:
    from step_inputs import BETAS, configuration, true_size
    from step_models import PIXELS

from mmalign import data, pipelines

Given = tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]
"""Noisy latents, targets, timesteps, and what else the denoiser is told, each for winners, then losers."""


class Peer(ABC):
    """A trainer's loop.

    Attributes:
        denoiser: with its adapters.
        trained: the parameters that are trained.
    """

    denoiser: Any
    adapter: str

    def __init__(self, options: argparse.Namespace, folder: Path):
        config = configuration("peer", options, folder)
        self.options, self.beta, self.side = options, BETAS[options.family], PIXELS[options.size]
        self.half = torch.bfloat16 if true_size(options) else torch.float32
        family = pipelines.configured(config.model)
        self.pipe, self.tokens = family.pipe.to(options.device), family.max_sequence_length
        self.examples = list(data.load("auto", folder / "pairs.parquet"))
        for module in (self.pipe.vae, self.pipe.text_encoder, self.pipe.text_encoder_2):
            module.requires_grad_(False)
        self.pipe.vae.to(torch.float32)
        self.prepare()
        self.trained = [parameter for name, parameter in self.denoiser.named_parameters() if f".{self.adapter}." in name]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-5, weight_decay=1e-2, fused=options.device == "cuda" or None)
        if options.gradient_checkpointing:
            self.denoiser.enable_gradient_checkpointing()

    @abstractmethod
    def prepare(self) -> None:
        """Makes the denoiser trainable."""

    @abstractmethod
    def batches(self) -> Iterator[Given]:
        """Endless batches."""

    @abstractmethod
    def predictions(self, given: Given) -> tuple[Tensor, Tensor]:
        """The policy's and the reference's."""

    def loss(self, given: Given) -> Tensor:
        """The mean over the pairs."""
        policy, reference = ((found.float() - given[1].float()).square().flatten(1).mean(1) for found in self.predictions(given))
        (winner, loser), (ref_winner, ref_loser) = policy.chunk(2), reference.chunk(2)
        return -F.logsigmoid(-0.5 * self.beta * ((winner - loser) - (ref_winner - ref_loser))).mean()

    def step(self, given: Given) -> float:
        """One optimizer step, and its loss, which both programs bring to the processor at every step."""
        loss = self.loss(given)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def autocast(self) -> AbstractContextManager:
        """What accelerate wraps a model's forward in."""
        return torch.autocast(self.options.device, torch.bfloat16, enabled=self.half != torch.float32)

    def pixels(self, rows: list[Any]) -> Tensor:
        """Decoded, resized and cut pictures (2 N, 3, H, W) in [-1, 1], the winners first."""
        pairs = [opened(row, self.side) for row in rows]
        return torch.stack([pair[k] for k in range(2) for pair in pairs]).to(self.options.device)

    @torch.no_grad()
    def latents(self, pixels: Tensor) -> Tensor:
        """Samples of the VAE, in float32, eight pictures at a time."""
        vae = self.pipe.vae
        latents = torch.cat([vae.encode(part).latent_dist.sample() for part in pixels.split(8)])
        return (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor


class DiffusersScript(Peer):
    """diffusers' examples/research_projects/diffusion_dpo/train_diffusion_dpo_sdxl.py.

    Pictures and prompts are encoded at every step; the reference is the same model with its adapters disabled.
    """

    adapter = "default"

    def prepare(self) -> None:
        self.denoiser = self.pipe.unet.requires_grad_(False)
        targets = ["to_k", "to_q", "to_v", "to_out.0"]
        self.denoiser.add_adapter(LoraConfig(r=16, lora_alpha=16, init_lora_weights="gaussian", target_modules=targets))
        for parameter in self.denoiser.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        self.denoiser.train()

    def batches(self) -> Iterator[Given]:
        from diffusers import DDPMScheduler

        noising, chosen = DDPMScheduler.from_config(self.pipe.scheduler.config), np.random.default_rng(0)
        while True:
            rows = [self.examples[i] for i in chosen.choice(len(self.examples), self.options.batch_size, replace=False)]
            latents = self.latents(self.pixels(rows)).to(self.half)
            noise = torch.randn_like(latents).chunk(2)[0].repeat(2, 1, 1, 1)
            times = torch.randint(0, noising.config.num_train_timesteps, (len(rows),), device=latents.device).repeat(2)
            noisy = noising.add_noise(latents, noise, times)
            velocity = noising.config.prediction_type == "v_prediction"
            target = noising.get_velocity(latents, noise, times) if velocity else noise
            yield noisy, target, times, self.told([row.prompt for row in rows])

    @torch.no_grad()
    def told(self, prompts: list[str]) -> dict[str, Tensor]:
        embeds, pooled = embedded(self.pipe, prompts)
        size = [self.side, self.side]
        ids = torch.tensor([[*size, 0, 0, *size]] * 2 * len(prompts), device=embeds.device, dtype=self.half)
        return {"encoder_hidden_states": embeds.repeat(2, 1, 1), "text_embeds": pooled.repeat(2, 1), "time_ids": ids}

    def predictions(self, given: Given) -> tuple[Tensor, Tensor]:
        policy = self.predicted(given)
        self.denoiser.disable_adapters()
        with torch.no_grad():
            reference = self.predicted(given)
        self.denoiser.enable_adapters()
        return policy, reference

    def predicted(self, given: Given) -> Tensor:
        noisy, _, times, told = given
        added = {name: told[name] for name in ("time_ids", "text_embeds")}
        with self.autocast():
            return self.denoiser(noisy, times, told["encoder_hidden_states"], added_cond_kwargs=added).sample


class FlowGRPO(Peer):
    """flow_grpo's scripts/train_sd3_dpo.py.

    Latents and embeddings stay in memory, as its sampling leaves them; the weights stay in float32 and are cast at every forward; the
    reference is a second adapter, which is switched to and back; parameters are averaged every 8 steps.
    """

    adapter = "learner"

    def prepare(self) -> None:
        transformer = self.pipe.transformer.requires_grad_(False).to(torch.float32)
        names = ("to_k", "to_q", "to_v", "to_out.0", "add_k_proj", "add_q_proj", "add_v_proj", "to_add_out")
        config = LoraConfig(r=16, lora_alpha=16, init_lora_weights="gaussian", target_modules=[f"attn.{name}" for name in names])
        self.denoiser = get_peft_model(transformer, config, adapter_name="learner")
        self.denoiser.add_adapter("ref", config)
        self.denoiser.set_adapter("learner")
        self.denoiser.train()
        self.average: list[Tensor] = []
        self.steps = 0
        self.kept = [self.sampled(row) for row in self.examples]

    def batches(self) -> Iterator[Given]:
        from diffusers import FlowMatchEulerDiscreteScheduler

        noising, chosen = FlowMatchEulerDiscreteScheduler.from_config(self.pipe.scheduler.config), np.random.default_rng(0)
        while True:
            rows = [self.kept[i] for i in chosen.choice(len(self.kept), self.options.batch_size, replace=False)]
            latents = torch.stack([row[0][k] for k in range(2) for row in rows])
            noise = torch.cat([torch.randn_like(latents)[: len(rows)]] * 2)
            drawn = torch.sigmoid(torch.randn(len(rows)))
            times = noising.timesteps[(drawn * noising.config.num_train_timesteps).long()].to(latents.device)
            times = torch.cat([times, times])
            sigmas = (times / noising.config.num_train_timesteps)[:, None, None, None]
            told = {name: torch.cat([row[1][name] for row in rows] * 2) for name in rows[0][1]}
            yield (1 - sigmas) * latents + sigmas * noise, noise - latents, times, told

    @torch.no_grad()
    def sampled(self, row: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents and embeddings; of a prompt as many tokens are read as on our side."""
        prompt, length = (row.prompt,) * 3, {"max_sequence_length": self.tokens, "do_classifier_free_guidance": False}
        embeds, _, pooled, _ = self.pipe.encode_prompt(*prompt, **length)
        return self.latents(self.pixels([row])), {"encoder_hidden_states": embeds, "pooled_projections": pooled}

    def predictions(self, given: Given) -> tuple[Tensor, Tensor]:
        self.denoiser.set_adapter("learner")
        policy = self.predicted(given)
        with torch.no_grad():
            self.denoiser.set_adapter("ref")
            reference = self.predicted(given)
            self.denoiser.set_adapter("learner")
        return policy, reference

    def predicted(self, given: Given) -> Tensor:
        noisy, _, times, told = given
        with self.autocast():
            return self.denoiser(hidden_states=noisy, timestep=times, **told, return_dict=False)[0]

    def step(self, given: Given) -> float:
        loss = super().step(given)
        self.average = self.average or [parameter.detach().clone() for parameter in self.trained]
        if self.steps % 8 == 0:
            torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self.trained], 0.1)
        self.steps += 1
        return loss


def opened(row: Any, side: int) -> list[Tensor]:
    """Both pictures (3, H, W) in [-1, 1], the second first brought to the first one's size."""
    pictures = [Image.open(io.BytesIO(image)).convert("RGB") for image in row.images]
    pictures[1] = pictures[1].resize(pictures[0].size)
    tensors = torch.cat([torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 for picture in pictures])[None]
    tensors = F.interpolate(tensors, size=(side, side), mode="bilinear", antialias=True)[0]
    if torch.rand(()) < 0.5:
        tensors = tensors.flip(-1)
    return list(((tensors - 0.5) / 0.5).chunk(2))


def embedded(pipe: Any, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Embeddings (B, T, D) of both encoders' last but one states, and the pooled ones of the second."""
    states = []
    for tokenizer, text_encoder in ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)):
        length = tokenizer.model_max_length
        ids = tokenizer(prompts, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
        said = text_encoder(ids.to(text_encoder.device), output_hidden_states=True)
        states.append(said.hidden_states[-2])
    return torch.cat(states, dim=-1), said[0]


PEERS: dict[str, type[Peer]] = {"sdxl": DiffusersScript, "sd3": FlowGRPO}
