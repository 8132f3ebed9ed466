"""The conditioner: attaches to a stock UNet or SD3 transformer, and makes it listen to a user (PPD, arXiv 2501.06655, section 4)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mmalign.errors import UserError
from mmalign.files import write_whole
from mmalign.personalization.attention import WithUser
from mmalign.personalization.calling import knowing
from mmalign.personalization.denoiser import FITTING, KWARGS, attentions, check_takes_users, uncompiled
from mmalign.personalization.embeddings import User, UserEmbeddings, UserRows

FILE = "user_conditioner.safetensors"


@dataclass(frozen=True)
class Shape:
    """What fits a conditioner to a denoiser and to embeddings.

    Attributes:
        tokens, width: of a user's embedding, (T, W).
        dim: of the tokens that attention sees.
        layers: name of an attention in the denoiser -> its inner width.
        spread: tokens that attention sees of each of the embedding's.
    """

    tokens: int
    width: int
    dim: int
    layers: Mapping[str, int]
    spread: int = 1


class UserConditioner(nn.Module):
    """Decoupled cross-attention over a user's embedding beside each attention that reads the prompt.

    ``attach`` changes nothing bit for bit, as the values' weights start at zero; nor does a user who is nobody, ever. Then::

        pipe(prompt, cross_attention_kwargs={"user": "ann"})    # SD3: joint_attention_kwargs

    takes a name, an embedding, a mixture {"ann": 0.3, "ben": 0.7}, None, a list with one of these for each prompt, or ``UserRows``.
    Under classifier-free guidance the unconditional half knows neither prompt nor user, so that guidance strengthens both.

    The parameters are here and not in the denoiser: they stay float32 beside a half-precision one, and adding a LoRA does not freeze them.

    Attributes:
        users: embeddings by name.
        scale: strength of the second attention; 1 as trained, 0 the base.

    Args:
        shape: made by ``fitting`` or read by ``load``.
    """

    def __init__(self, shape: Shape, users: UserEmbeddings | None = None):
        super().__init__()
        self.shape, self.users, self.scale = shape, users or UserEmbeddings({}), 1.0
        apart = nn.Unflatten(-1, (shape.spread, shape.dim))
        self.project = nn.Sequential(nn.Linear(shape.width, shape.spread * shape.dim), apart, nn.LayerNorm(shape.dim), nn.Flatten(1, 2))
        self.keys = nn.ModuleDict({_plain(name): nn.Linear(shape.dim, inner, bias=False) for name, inner in shape.layers.items()})
        self.values = nn.ModuleDict({_plain(name): nn.Linear(shape.dim, inner, bias=False) for name, inner in shape.layers.items()})
        for value in self.values.values():
            nn.init.zeros_(value.weight)
        self._beside: list[tuple[Any, WithUser]] = []  # attentions, which are no part of this module, and what was put into them
        self._hook: Any = None

    @classmethod
    def fitting(
        cls, denoiser: nn.Module, tokens: int, width: int, dim: int = 256, users: UserEmbeddings | None = None, spread: int = 1
    ) -> Self:
        """A new conditioner for a denoiser.

        Args:
            tokens, width: of the embeddings.
            dim: of the tokens that attention sees. The paper does not give its own; at 256 SDXL's conditioner has 45 million parameters.
            spread: tokens that attention sees of each of the embedding's. Of a single token attention has no choice: each place of the
                picture is told the same, whatever its query.

        Raises:
            UserError: the denoiser has no attention that reads the prompt.
        """
        layers = _inner(attentions(uncompiled(denoiser)))
        if not layers:
            raise UserError(f"{type(denoiser).__name__} has no attention that a conditioner could go beside; {FITTING}")
        return cls(Shape(tokens, width, dim, layers, spread), users)

    # ---- in and out of a pipeline

    def attach(self, pipe: Any) -> Self:
        """Attaches to a pipeline of diffusers, or to its denoiser alone. The pipeline stays the user's object.

        Raises:
            UserError: attached already, made for another denoiser, an IP-Adapter is loaded, or the pipeline cannot be told of a user.
        """
        denoiser = uncompiled(pipe) if isinstance(pipe, nn.Module) else check_takes_users(pipe)
        found = attentions(denoiser)
        if self._beside or any(isinstance(attn.processor, WithUser) for attn in found.values()):
            raise UserError("a conditioner is attached already; detach it first")
        if _inner(found) != dict(self.shape.layers):
            raise UserError(
                f"this conditioner was made for another denoiser than this {type(denoiser).__name__}; load it with its own base"
            )
        if getattr(denoiser, "encoder_hid_proj", None) is not None or getattr(denoiser, "image_proj", None) is not None:
            raise UserError("an IP-Adapter is loaded, which uses the same door; call pipe.unload_ip_adapter() first")
        for name, attn in found.items():
            own = WithUser(attn.processor, self.keys[_plain(name)], self.values[_plain(name)])
            attn.set_processor(own)
            self._beside.append((attn, own))
        if denoiser.device.type != "meta":  # where weights come a layer at a time; a call moves what is here, too
            self.to(denoiser.device)
        self._hook = denoiser.register_forward_pre_hook(self._before_forward, with_kwargs=True)
        return self

    def detach(self) -> Self:
        """Puts the processors from before back: the pipeline is as it was. What somebody else has put there since stays."""
        if self._hook is not None:
            self._hook.remove()
        for attn, own in self._beside:
            if attn.processor is own:
                attn.set_processor(own.before)
        self._beside, self._hook = [], None
        return self

    # ---- users

    def tokens(self, embeddings: Tensor, present: Tensor | None = None) -> Tensor:
        """Embeddings (R, T, W) as what attention sees, (R, T * spread, D); zeros for rows that are not present (R,), which is nobody.

        Raises:
            UserError: embeddings of another size than this conditioner's.
        """
        self._check_size(embeddings.shape[1:])
        weight = self.project[0].weight
        tokens = self.project(embeddings.to(weight.device, weight.dtype))
        return tokens if present is None else tokens * present.to(tokens).view(-1, 1, 1)

    def given(self, user: User | Sequence[User] | UserRows) -> Tensor:
        """The tokens of a user or of several, one row each, (R, T * spread, D).

        Raises:
            UserError: an unknown name, or an embedding of another size.
        """
        if isinstance(user, UserRows):
            return self.tokens(user.embeddings, user.present)
        users: Sequence[User] = user if isinstance(user, list | tuple) else [user]
        if not users:
            raise UserError("the list of users is empty; give one for each prompt, or None for nobody")
        found = [self._embedding(one) for one in users]
        nobody = torch.zeros(self.shape.tokens, self.shape.width, device=self._device)
        present = torch.tensor([embedding is not None for embedding in found])
        return self.tokens(torch.stack([nobody if embedding is None else embedding for embedding in found]), present)

    def _embedding(self, user: User) -> Tensor | None:
        """A user's embedding (T, W), float32, where this module is; None for nobody."""
        if user is None:
            return None
        found = self.users[user] if isinstance(user, str) else self.users.mixed(user) if isinstance(user, Mapping) else user
        if not isinstance(found, Tensor):
            raise UserError(f"{found!r} is no user; give a name, an embedding, weights of names as in {{'ann': 0.3, 'ben': 0.7}}, or None")
        self._check_size(found.shape)
        return found.to(self._device, torch.float32)

    def _check_size(self, size: Sequence[int]) -> None:
        wanted = (self.shape.tokens, self.shape.width)
        if tuple(size) != wanted:
            raise UserError(f"this conditioner takes embeddings of (tokens, width) {wanted}, not {tuple(size)}")

    @property
    def _device(self) -> torch.device:
        return self.project[0].weight.device

    # ---- files

    def save(self, folder: str | Path) -> Path:
        """Writes weights, shape and users into one file in a folder, beside the LoRA if there is one; gives its path."""
        tensors = {f"conditioner.{name}": tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        tensors |= {f"user.{number}": embedding.contiguous() for number, embedding in enumerate(self.users.values())}
        path = Path(folder) / FILE
        write_whole(path, save(tensors, {"shape": json.dumps(asdict(self.shape)), "users": json.dumps(list(self.users))}))
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads what ``save`` wrote; a folder or the file. Raises UserError where it cannot be read."""
        path = Path(folder) / FILE if Path(folder).is_dir() else Path(folder)
        try:
            with safe_open(path, "pt") as file:
                said = file.metadata() or {}
                users = {name: file.get_tensor(f"user.{number}") for number, name in enumerate(json.loads(said["users"]))}
                made = cls(Shape(**json.loads(said["shape"])), UserEmbeddings(users))
                made.load_state_dict({name: file.get_tensor(f"conditioner.{name}") for name in made.state_dict()})
                return made
        except (OSError, SafetensorError, AttributeError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"{path} cannot be read as a user conditioner ({error}); give a folder that mmalign wrote") from error

    # ---- a forward of the denoiser

    @torch.compiler.disable
    def _before_forward(self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Takes "user" out of what is meant for attention and puts tokens, one row for each of the batch, in its place."""
        name = next((name for name in KWARGS if "user" in (kwargs.get(name) or {})), None)
        if name is None:
            return args, kwargs
        rest = dict(kwargs[name])
        sample = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))
        if self._device != sample.device:
            self.to(sample.device)
        self._check_beside()
        user = rest.pop("user")
        tokens = self.given(user)
        if not (isinstance(user, UserRows) and len(tokens) == len(sample)):  # rows for all that is there are for what is there
            tokens = _spread(tokens, len(sample), knowing(kwargs))
        rest["ip_hidden_states"] = tokens, torch.full((len(sample), 1, 1), float(self.scale), device=sample.device)
        return args, kwargs | {name: rest}

    def _check_beside(self) -> None:
        """Raises UserError where something has taken the place of what was attached, and would not listen to the user."""
        for attn, own in self._beside:
            if attn.processor is not own:
                taken = type(attn.processor).__name__
                raise UserError(f"{taken} took the conditioner's place in the denoiser's attention; detach, and attach after it is set")


def _spread(tokens: Tensor, batch: int, parts: Sequence[bool]) -> Tensor:
    """Tokens (R, T, D) for a batch of pictures: R prompts, perhaps several pictures of each, in each part that knows them."""
    pictures = batch // len(parts)
    if pictures * len(parts) != batch or pictures % len(tokens):
        raise UserError(f"there are {len(tokens)} users for {pictures} pictures; give one user, or one for each prompt")
    tokens = tokens.repeat_interleave(pictures // len(tokens), dim=0)
    return torch.cat([tokens if knows else torch.zeros_like(tokens) for knows in parts])


def _inner(found: Mapping[str, Any]) -> dict[str, int]:
    """Name of an attention -> its inner width, whatever its layers are wrapped or packed into."""
    return {name: attn.inner_dim for name, attn in found.items()}


def _plain(name: str) -> str:
    """A name that a ModuleDict takes."""
    return name.replace(".", "-")
