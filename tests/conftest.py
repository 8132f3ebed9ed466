"""What every test stands on: one thread, and no hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["COLUMNS"] = "80"  # workers of xdist have a terminal of their own

import socket

import pytest
import torch

# Two threads made tests of this kind ten times slower: the tensors are tiny.
torch.set_num_threads(1)

LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """A connection that leaves the machine is a failure; local sockets are left alone."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOCAL):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def subnormal_numbers():
    """Training the embedded models flushes subnormal numbers to zero for speed, in the whole process; the next test has them again."""
    yield
    torch.set_flush_denormal(False)
