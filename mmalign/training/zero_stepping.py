"""DeepSpeed's ZeRO: every process keeps the optimizer's state, and from stage 2 on the gradient, of a part of what is trained.

Weights stay whole in every process. Checkpoints are those of other runs: any number of processes reads them, with DeepSpeed or without.
"""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmalign.config import TrainConfig
from mmalign.errors import UserError
from mmalign.training.split_memory import Split
from mmalign.training.zero import Zero

BUCKET = 50_000_000
"""Numbers that are sent at a time; DeepSpeed keeps room for as many, 2 GB with its own default."""


class ZeroStepping:
    """Steps by DeepSpeed's engine, which is told by the loop when to send and when to step.

    Args:
        module: the model, on its device.
        optimizer: torch's AdamW over what is trained.
        zero: what is split.
        rows, accumulation: rows of a micro-batch, and how many of these make a step.

    Raises:
        UserError: the run has what does not go with it.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, zero: Zero, config: TrainConfig, rows: int, accumulation: int):
        check(config)
        trained = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
        if next(module.parameters()).device.type == "cpu":
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        import deepspeed

        groups = [list(group["params"]) for group in optimizer.param_groups]
        settings = {
            "train_micro_batch_size_per_gpu": rows,
            "gradient_accumulation_steps": accumulation,
            "gradient_clipping": config.max_grad_norm or 0.0,
            "zero_optimization": {"reduce_bucket_size": min(BUCKET, trained), **zero.section, "stage": zero.stage},
            # the list would name the layers whose gradients are sent in half precision
            "torch_autocast": {"enabled": config.mixed_precision == "bf16", "dtype": "bfloat16", "lower_precision_safe_modules": []},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": sys.maxsize,
            "wall_clock_breakdown": False,
        }
        self.module, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=settings | dict(zero.more))
        self.optimizer = SplitOptimizer(self.module.optimizer, groups)
        world = dist.get_world_size()
        room = 4 * (trained // world + settings["zero_optimization"]["reduce_bucket_size"])  # its part in float32 once more
        self.split = Split(gradients=world if zero.stage == 2 else 1, optimizer=world, room=room)

    def part(self, last: bool) -> AbstractContextManager[Any]:
        """Stage 2 sends after every micro-batch, since nobody has room for all of its gradient; stage 1 after the last."""
        self.module.set_gradient_accumulation_boundary(last)
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a loss."""
        self.module.backward(loss, scale_wrt_gas=False)

    def step(self, longest: float | None) -> Tensor:
        """Steps; where the gradient is not finite nothing moves, and its norm is infinite. The length to clip to was told at the start."""
        self.module.step()
        norm = self.module.get_global_grad_norm()
        return torch.as_tensor(norm, dtype=torch.float32, device=self.module.device).detach()

    def close(self) -> None:
        """Takes its hooks off the model."""
        self.module.destroy()
        self.module.module_forward_pre_hook.remove()
        self.module.module_forward_post_hook.remove()


def check(config: TrainConfig) -> None:
    """Raises UserError where a run's settings do not go with it."""
    if config.optimizer != "adamw":
        raise UserError(
            f"DeepSpeed splits parameters where {config.optimizer} looks at them whole; set train.optimizer adamw, or use torchrun"
        )
    if config.mixed_precision == "fp16":
        raise UserError("train.mixed_precision is fp16, which does not go with DeepSpeed here; set it to bf16, or launch with torchrun")


class SplitOptimizer:
    """An optimizer whose state is split, with the state of all as if it were not: by the places of the parameters, as torch has it.

    Args:
        split: DeepSpeed's, around torch's, each of whose groups is one flat parameter: this process's part.
        groups: the parameters of each group, as they were.
    """

    step_was_skipped = False

    def __init__(self, split: Any, groups: list[list[nn.Parameter]]):
        self.split, self.own, self.groups = split, split.optimizer, groups

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of torch's optimizer: rates, and this process's parts."""
        return self.own.param_groups

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """This process's part."""
        return self.own.state

    def state_dict(self) -> dict[str, Any]:
        """The whole, on the CPU, in every process; all must ask for it."""
        states, groups = {}, []
        for group, parameters in zip(self.own.param_groups, self.groups, strict=True):
            [flat] = group["params"]
            places = range(len(states), len(states) + len(parameters))
            held = self.own.state.get(flat, {})
            for place, parameter in zip(places, parameters, strict=True):
                states[place] = {name: _whole(value, flat, parameter) for name, value in held.items()}
            groups.append({**group, "params": list(places)})
        return {"state": {place: values for place, values in states.items() if values}, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes this process's part of the whole, and of the weights as they are in the model now."""
        states, groups = {}, []
        for number, (group, parameters) in enumerate(zip(state["param_groups"], self.groups, strict=True)):
            [flat] = self.own.param_groups[number]["params"]
            saved = [state["state"].get(place, {}) for place in group["params"]]
            states[number] = {name: self._part(flat, parameters, [values[name] for values in saved]) for name in saved[0]}
            groups.append({**group, "params": [number]})
        self.own.load_state_dict({"state": {number: values for number, values in states.items() if values}, "param_groups": groups})
        self.split.refresh_fp32_params()

    @staticmethod
    def _part(flat: Tensor, parameters: list[nn.Parameter], values: list[Tensor]) -> Tensor:
        if values[0].shape != parameters[0].shape:
            return values[0]  # the number of steps, which all have in common
        part = torch.zeros(flat.shape, dtype=values[0].dtype)
        for parameter, value in zip(parameters, values, strict=True):
            if (places := _places(parameter)) is not None:
                mine, there = places
                part[mine] = value.flatten()[there]
        return part


def _places(parameter: nn.Parameter) -> tuple[slice, slice] | None:
    """Where in this process's part a parameter lies, and what of the parameter it is; None = nothing."""
    if parameter._hp_mapping is None:
        return None
    addresses = parameter._hp_mapping.hp_fragment_address, parameter._hp_mapping.lp_fragment_address
    mine, there = (slice(address.start, address.start + address.numel) for address in addresses)
    return mine, there


def _whole(part: Tensor, flat: Tensor, parameter: nn.Parameter) -> Tensor:
    """What is kept of a parameter, put together; what all parameters have in common is told of each."""
    if part.shape != flat.shape:
        return part.clone()  # or torch would load it as one, and count every step once for each parameter
    whole = torch.zeros(parameter.numel(), dtype=part.dtype, device=part.device)
    if (places := _places(parameter)) is not None:
        mine, there = places
        whole[there] = part[mine]
    dist.all_reduce(whole)
    return whole.view(parameter.shape).cpu()
