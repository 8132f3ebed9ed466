"""Preference alignment for image generators and vision-language models.

``align`` aligns a pipeline in memory; ``mmalign.objectives``, ``mmalign.rewards`` and ``mmalign.pipelines`` each have a ``load``.
Importing this package loads no model library.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "align", "objectives", "pipelines", "rewards"]


def __getattr__(name: str) -> Any:
    if name in ("objectives", "pipelines", "rewards"):
        return importlib.import_module(f"mmalign.{name}")
    if name == "align":
        return importlib.import_module("mmalign.alignment").align
    raise AttributeError(f"module 'mmalign' has no attribute {name!r}")
