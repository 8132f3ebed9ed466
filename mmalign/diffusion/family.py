"""What a family of image generators says of itself: how it encodes prompts and images, and how its denoiser is asked."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from mmalign.diffusion.draw import draw
from mmalign.diffusion.noise import NoiseProcess
from mmalign.diffusion.usual import NAMES, usual_of
from mmalign.errors import UserError
from mmalign.geometry import Geometry


@dataclass(frozen=True)
class FamilyOptions:
    """How a denoiser is asked in training, where there is a choice.

    Attributes:
        logit_normal: draw flow-matching timesteps by a logit-normal density in place of a uniform one; only flow families read it.
        timesteps: draw among these alone, in the denoiser's unit: those that a model of few steps was distilled for. None = all.
        guidance: guidance scale that a denoiser takes as an input (FLUX.1-dev), the same for policy and reference; None = the pipeline's
            default. Denoisers without that input do not read it.
    """

    logit_normal: bool = False
    timesteps: tuple[int, ...] | None = None
    guidance: float | None = None


DEFAULTS = FamilyOptions()
Section = TypeVar("Section", bound=BaseModel)


class DiffusionFamily(ABC):
    """A diffusers pipeline of one family. The pipeline stays the user's object; nothing in it is replaced.

    Args:
        pipe: the pipeline.
        options: how the denoiser is asked.
    """

    pipeline_classes: ClassVar[tuple[str, ...]]
    denoiser_name: ClassVar[str] = "unet"
    lora_targets: ClassVar[tuple[str, ...]] = ("to_k", "to_q", "to_v", "to_out.0")
    default_frames: ClassVar[int | None] = None
    """Frames of the clips that the model was trained on; None for models of pictures."""
    prompt_mask: ClassVar[str | None] = None
    """The argument that says which of a prompt's tokens count, those before its padding; None where all do."""

    def __init__(self, pipe: Any, options: FamilyOptions = DEFAULTS):
        self.pipe = pipe
        self.options = options
        self.tuned: Mapping[str, Any] = {}
        """Of ``usual``, what was found to be best for this very model."""

    # ---- what each family says

    @abstractmethod
    def noise_process(self) -> NoiseProcess:
        """The process that the denoiser was trained on, from the pipeline's scheduler."""

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """The denoiser's arguments that follow from the prompts, by name, each (B, ...)."""

    @abstractmethod
    def predict(self, denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        """The denoiser's prediction (N, C, H, W) for noisy latents of that shape at timesteps (N,).

        The denoiser may be wrapped, or a call of it that has a user already: it is called and not looked into.
        """

    def image_conditioning(self, geometry: Geometry) -> dict[str, Tensor]:
        """Arguments that follow from an image's geometry, one image's worth each; most families have none."""
        return {}

    def own_length(self, conditioning: dict[str, Tensor]) -> dict[str, Tensor]:
        """One prompt's arguments without what the mask leaves out: a fifth of the cache for most prompts."""
        if self.prompt_mask is None:
            return conditioning
        length = int(conditioning[self.prompt_mask].sum())
        return {name: value[:length] for name, value in conditioning.items()}

    def call(self) -> dict[str, Any]:
        """Arguments that every call of the pipeline gets where its caller says nothing else."""
        length = {} if self.max_sequence_length is None else {"max_sequence_length": self.max_sequence_length}
        return {"callback_on_step_end": _for_the_vae} | length

    @property
    def usual(self) -> dict[str, Any]:
        """What pictures are drawn with where nothing is said: ``num_inference_steps`` and ``guidance_scale``.

        The defaults of the pipeline's call; few and no guidance for a model of few steps, as ``options.timesteps`` or its scheduler say.
        """
        return usual_of(self.pipe, self.denoiser, self.options.timesteps)

    # ---- what all families share

    @property
    def name(self) -> str:
        """What configurations call the family: the name of its file, or that of its module where it is one of your own."""
        return type(self).__module__.removeprefix("mmalign.pipelines.")

    @property
    def denoiser(self) -> nn.Module:
        return getattr(self.pipe, self.denoiser_name)

    @property
    def text_encoders(self) -> dict[str, nn.Module]:
        """The text encoders that are loaded, in order, by name."""
        names = ("text_encoder", "text_encoder_2", "text_encoder_3")
        return {name: encoder for name in names if (encoder := getattr(self.pipe, name, None)) is not None}

    def rest_encoders(self, needed: Collection[str] = ()) -> None:
        """Moves what a step does not need, the VAE and all text encoders but some, to the CPU: some 10 GB for SD3 with T5."""
        for module in (self.pipe.vae, *(encoder for name, encoder in self.text_encoders.items() if name not in needed)):
            module.to("cpu")

    @property
    def device(self) -> torch.device:
        return self.denoiser.device

    @property
    def unread(self) -> tuple[str, ...]:
        """Parts of the denoiser whose output nothing reads, by name: they get no gradient, for which other processes would wait."""
        return ()

    @property
    def max_sequence_length(self) -> int | None:
        """Tokens of a prompt that are read, in training and in sampling; None where the pipeline leaves no choice."""
        return None

    @property
    def prompt_settings(self) -> list[Any]:
        """What an embedding depends on beside the prompt, the text encoders and their tokenizers."""
        return [self.pipe.config.get("force_zeros_for_empty_prompt"), self.max_sequence_length]

    @property
    def default_resolution(self) -> int:
        """The side of the images that the model was trained on, in pixels."""
        return self.denoiser.config.sample_size * self.pipe.vae_scale_factor

    @property
    def side_multiple(self) -> int:
        """What sides of pictures are multiples of, in pixels, so that every level of the denoiser halves without a remainder."""
        config = self.denoiser.config
        patch = getattr(config, "patch_size", None) or 2 ** (len(config.block_out_channels) - 1)
        return self.pipe.vae_scale_factor * patch

    def latent_shape(self, height: int, width: int, frames: int | None = None) -> tuple[int, ...]:
        """The shape (C, h, w) of the latents of a picture of so many pixels; (C, f, h, w) of a clip, of ``default_frames`` where None."""
        factor = self.pipe.vae_scale_factor
        return self.denoiser.config.in_channels, height // factor, width // factor

    @property
    def longest_side(self) -> int | None:
        """The longest side that the denoiser has position embeddings for, in pixels; None = any."""
        patches = getattr(self.denoiser.config, "pos_embed_max_size", None)
        return None if patches is None else patches * self.denoiser.config.patch_size * self.pipe.vae_scale_factor

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The VAE's posterior in the denoiser's scale.

        Args:
            pixels: (N, 3, H, W) in [-1, 1]; of clips (N, 3, F, H, W).

        Returns:
            Mean and standard deviation, each (N, C, h, w) or (N, C, f, h, w), float32.
        """
        vae = self.pipe.vae
        posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        mean, std = posterior.mean.float(), posterior.std.float()
        shift, scale = self._latent_scale(mean)
        return (mean - shift) * scale, std * scale

    @contextmanager
    def precise_vae(self) -> Iterator[None]:
        """Inside it, the VAE is in float32: half precision overflows in SDXL's own. One marked as safe (the fp16-fix) stays as it is."""
        vae, dtype = self.pipe.vae, self.pipe.vae.dtype
        safe = dtype == torch.float16 and not getattr(vae.config, "force_upcast", True)
        if dtype == torch.float32 or safe:
            yield
            return
        vae.to(torch.float32)
        try:
            yield
        finally:
            vae.to(dtype)

    def _latent_scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.pipe.vae.config
        scale = getattr(config, "scaling_factor", None) or 1.0
        if getattr(config, "latents_mean", None) is not None:
            shape = (1, -1, *[1] * (like.ndim - 2))
            shift, std = (torch.tensor(v, device=like.device).view(shape) for v in (config.latents_mean, config.latents_std))
            return shift, scale / std
        return torch.tensor(getattr(config, "shift_factor", None) or 0.0), torch.tensor(scale)

    def drawing(self, num_inference_steps: int | None = None, guidance_scale: float | None = None) -> dict[str, Any]:
        """The two numbers that pictures are drawn with: what is given, and the model's own where None."""
        given = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        return {**self.usual, **self.tuned} | {name: value for name, value in given.items() if value is not None}

    def settled(self, section: Section) -> Section:
        """A section of a configuration that draws pictures, with the numbers that it draws with in place of None."""
        return section.model_copy(update=self.drawing(**{name: getattr(section, name) for name in NAMES}))

    def sized(
        self, height: int | None = None, width: int | None = None, frames: int | None = None, fps: float | None = None, prefix: str = ""
    ) -> dict[str, Any]:
        """Arguments of ``sample`` for pictures of a size in pixels, or clips of so many frames; the pipeline's own where None.

        Args:
            fps: frames a second, which films are shown with.
            prefix: what stands before these words in a configuration, such as ``validation.``.

        Raises:
            UserError: what only films have is asked of a model of pictures, or it can draw no clips of such a size or length.
        """
        if self.default_frames is None:
            for key, value in (("frames", frames), ("fps", fps)):
                if value is not None:
                    raise UserError(f"{prefix}{key} is for models of films, which {self.name} is not; leave it out")
        else:
            for key, side in (("height", height), ("width", width)):
                if side is not None and side % self.side_multiple:
                    raise UserError(f"{prefix}{key} is {side}, but sides of clips for {self.name} are multiples of {self.side_multiple}")
            if frames is not None:
                self.latent_frames(frames, f"{prefix}frames")
        return {name: value for name, value in {"height": height, "width": width, "num_frames": frames}.items() if value is not None}

    def latent_frames(self, frames: int, key: str = "data.frames") -> int:
        """Latents along the time of a clip. Raises UserError where there can be no clip of so many frames; the message names the key."""
        return frames

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        batch_size: int = 8,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        **call: Any,
    ) -> Tensor:
        """Pictures by the pipeline's own call: (N, 3, H, W) in [0, 1], float32, on the CPU; clips are (N, F, 3, H, W).

        Args:
            prompts: N prompts.
            seeds: N seeds; a picture's noise depends on its own seed only.
            batch_size: pictures per call of the pipeline.
            num_inference_steps: denoising steps, as ``drawing`` has them where left out.
            guidance_scale: strength of classifier-free guidance, likewise.
            **call: handed to the pipeline as they are (height, width, negative_prompt).
        """
        call = self.call() | self.drawing(num_inference_steps, guidance_scale) | call
        self.pipe.set_progress_bar_config(disable=True)
        pictures = []
        for start in range(0, len(prompts), batch_size):
            part = slice(start, start + batch_size)
            pictures.append(self.drawn(prompts[part], seeds[part], **call))
        return torch.cat(pictures)

    def drawn(self, prompts: Sequence[str], seeds: Sequence[int], **call: Any) -> Tensor:
        """What one call of the pipeline gives, as ``sample`` does."""
        return draw(self.pipe, prompts, seeds, films=self.default_frames is not None, **call).pictures


def _for_the_vae(pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gives the VAE latents in its own number format: a denoiser that is being trained answers in float32."""
    return {"latents": tensors["latents"].to(pipe.vae.dtype)} if step == pipe.num_timesteps - 1 else {}
