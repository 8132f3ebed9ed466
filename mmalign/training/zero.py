"""What `accelerate launch --use_deepspeed` asks for, as far as runs do it: ZeRO, stages 1 and 2."""

import importlib.util
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import patch_environment

from mmalign.errors import UserError

SWITCH = "ACCELERATE_USE_DEEPSPEED"
PASSED_ON = ("steps_per_print", "wall_clock_breakdown", "communication_data_type", "zero_allow_untested_optimizer")
"""What else of a DeepSpeed configuration is taken; all other keys follow from the run's own."""


@dataclass(frozen=True)
class Zero:
    """What is split, and how.

    Attributes:
        stage: 1 = the optimizer's state; 2 = gradients too.
        section: the keys of DeepSpeed's ``zero_optimization``.
        more: other keys of its configuration.
    """

    stage: int
    section: Mapping[str, Any]
    more: Mapping[str, Any]


def asked(environment: Mapping[str, str] = os.environ) -> Zero | None:
    """What the launcher left in the environment; None where it was not told to use DeepSpeed.

    Raises:
        UserError: it asks for what runs do not do, or DeepSpeed is not installed.
    """
    if environment.get(SWITCH, "false").lower() not in ("true", "1"):
        return None
    file = environment.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    more = {} if file == "none" else _read(Path(file))
    section = {key: value for key, value in more.pop("zero_optimization", {}).items() if value != "auto"}
    stage = section.get("stage", int(environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")))
    offloads = [section.get(f"offload_{what}", {}).get("device", "none") for what in ("optimizer", "param")]
    offloads += [environment.get(f"ACCELERATE_DEEPSPEED_OFFLOAD_{what}_DEVICE", "none") for what in ("OPTIMIZER", "PARAM")]
    _check(stage, offloads)
    return Zero(stage, {key: value for key, value in section.items() if not key.startswith("offload_")}, more)


def _read(file: Path) -> dict[str, Any]:
    """A DeepSpeed configuration without what it leaves open. Raises UserError where it says what a run's own configuration says."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"DeepSpeed's configuration {file} cannot be read: {error}") from error
    said = {key: value for key, value in found.items() if not _open(value)}
    if other := sorted(said.keys() - {"zero_optimization", *PASSED_ON}):
        raise UserError(f"{file} sets {other[0]}, which follows from the run's own configuration; set it to auto there, or remove it")
    return said


def _open(value: Any) -> bool:
    """Whether a value, or all values of a section, leave it to the run."""
    if isinstance(value, dict):
        return _open(value["enabled"]) if "enabled" in value else all(map(_open, value.values()))
    return value in ("auto", False, None)


def _check(stage: Any, offloads: list[str]) -> None:
    """Raises UserError where runs do not do it."""
    if stage == 3:
        raise UserError("DeepSpeed's ZeRO stage 3 is not supported; launch with torchrun and set speed.shard true, which splits as much")
    if stage not in (1, 2):
        raise UserError(f"DeepSpeed's ZeRO stage is {stage}, which splits nothing; set it to 1 or 2, or launch with torchrun")
    if any(device not in ("none", None) for device in offloads):
        raise UserError("DeepSpeed's offload is not supported; set the devices to none, and speed.shard true to split the model further")
    if missing():
        raise UserError("accelerate is configured for DeepSpeed, which is not installed: pip install 'mmalign[deepspeed]'")


def missing() -> bool:
    """Whether DeepSpeed is not installed."""
    return importlib.util.find_spec("deepspeed") is None


def hidden() -> AbstractContextManager[None]:
    """Inside it, accelerate does not see that it was told to use DeepSpeed, which would then step within the backward pass, or FSDP."""
    return patch_environment(**{SWITCH: "false", "ACCELERATE_USE_FSDP": "false"})
