"""What is measured of a training run: time by its steps, and the most memory that it took."""

import ctypes
import gc
import time
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


class Clock:
    """When each step ended, by the clock and by the processor's seconds of this process."""

    def __init__(self, device: str) -> None:
        self.device, self.ends = device, []

    def __call__(self, *_: Any, **__: Any) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.ends.append((time.perf_counter(), time.process_time()))

    def per_sample(self, rows: int) -> dict[str, float]:
        """Of all steps but the first, which has more to do: samples by the clock and seconds of the processor."""
        seconds, busy = (last - first for first, last in zip(self.ends[0], self.ends[-1], strict=True))
        samples = rows * (len(self.ends) - 1)
        return {"samples_per_s": samples / seconds, "cpu_s_per_sample": busy / samples}


class Memory:
    """The most memory from its making on, MiB: of the device's allocator, or of the process where there is no device.

    A process also holds its libraries, so that what was there before is told apart; what C's allocator keeps for later goes back first.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        gc.collect()
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self.before = torch.cuda.memory_allocated() / MIB if device == "cuda" else _status("VmRSS")

    def peak(self) -> dict[str, float]:
        most = torch.cuda.max_memory_allocated() / MIB if self.device == "cuda" else _status("VmHWM")
        return {"peak_mib": most, "above_rest_mib": most - self.before}


def _status(name: str) -> float:
    """A size of this process, which Linux tells in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
