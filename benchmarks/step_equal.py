"""That the sides of `step.py` compute the same: loss and gradients of one batch, from the same weights, noise and timesteps."""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

if __package__:
    from benchmarks.step_inputs import configuration, true_size
    from benchmarks.step_peers import PEERS
else:
    from step_inputs import configuration, true_size
    from step_peers import PEERS

from mmalign.cli.quiet import quiet
from mmalign.training import diffusion
from mmalign.training.order import generator
from mmalign.training.run import batches, make_accelerator

Found = tuple[Tensor, dict[str, Tensor]]
"""A loss, and the gradients by the names of the layers."""

LOSS, GRADIENT = 1e-4, 1e-4
"""How far apart float32 may be: the loss, and a gradient as a share of the largest."""


def serve(name: str, pipe: Any, options: argparse.Namespace, folder: Path) -> None:
    """Says how far apart the sides are, in float32, when asked; they must not be far, where it is known how near rounding lets them be."""
    quiet(pipelines=True)
    try:
        torch.backends.cudnn.allow_tf32 = False
        known = not true_size(options)
        exact = argparse.Namespace(**vars(options) | ({} if known else {"exact": True, "batch_size": 1}))
        while pipe.recv() != "end":
            found = apart(exact, folder)
            assert not known or (found["loss apart"] < LOSS and found["gradient apart"] < GRADIENT), found
            pipe.send(found)
    except Exception as error:  # noqa: BLE001, told by who asked
        pipe.send(f"{name}: {type(error).__name__}: {error}")


def apart(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """The loss, how far the other side's is from it, and how far its gradients are, as a share of the largest."""
    config = configuration("equal", options, folder)
    with diffusion.building(config, make_accelerator(config.train, config.output_dir), config.output_dir) as parts:
        run = parts.run
        moved(run.parameters)
        batch = next(batches(parts, 0)).to(run.accelerator.device)
        inputs = run.policy.prepare(batch, [generator(0, place) for place in batch.positions])
        loss = run.objective(run.policy, inputs).loss.mean()
        loss.backward()
        ours = loss.detach(), named(run.policy.module, "mmalign", "grad")
        weights = named(run.policy.module, "mmalign", "data")
        given = tuple(halves(tensor) for tensor in (inputs.noisy, inputs.target))
        told = {name: halves(value.unflatten(0, inputs.noisy.shape[:2])) for name, value in inputs.conditioning.items()}
    theirs = of_the_peer(options, folder, weights, (*given, inputs.timesteps.repeat(2), told))
    return compared(ours, theirs)


def moved(parameters: list[torch.nn.Parameter]) -> None:
    """An adapter away from its start, so that policy and reference differ."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=source))


def halves(tensor: Tensor) -> Tensor:
    """Rows of two candidates (B, 2, ...) as all winners, then all losers."""
    return tensor.transpose(0, 1).flatten(0, 1)


def named(module: torch.nn.Module, adapter: str, what: str) -> dict[str, Tensor]:
    """A copy of what each parameter of an adapter has, by its name without the adapter's and without wrappers."""
    found = {name: getattr(parameter, what) for name, parameter in module.named_parameters() if f".{adapter}." in name}
    return {name.removeprefix("base_model.model.").replace(f".{adapter}.", "."): value.clone() for name, value in found.items()}


def of_the_peer(options: argparse.Namespace, folder: Path, weights: dict[str, Tensor], given: Any) -> Found:
    """The other side's loss and gradients from these weights."""
    peer = PEERS[options.family](options, folder)
    with torch.no_grad():
        for name, parameter in peer.denoiser.named_parameters():
            if f".{peer.adapter}." in name:
                parameter.copy_(weights[name.removeprefix("base_model.model.").replace(f".{peer.adapter}.", ".")])
    noisy, target, times, told = given
    loss = peer.loss((noisy.to(peer.half), target.to(peer.half), times, told))
    loss.backward()
    return loss.detach(), named(peer.denoiser, peer.adapter, "grad")


def compared(ours: Found, theirs: Found) -> dict[str, float]:
    """Differences of two sides; their layers are the same."""
    (loss, mine), (their_loss, its) = ours, theirs
    assert mine.keys() == its.keys(), mine.keys() ^ its.keys()
    largest = max(gradient.abs().max().item() for gradient in mine.values())
    far = max((mine[name] - its[name]).abs().max().item() for name in mine)
    return {"loss": loss.item(), "loss apart": abs(loss.item() - their_loss.item()), "gradient apart": far / largest}
