"""Configuration: strict sections, a loader with did-you-mean, and options of the command line over a file."""

from mmalign.config.drawing import EvaluateConfig, PairsConfig
from mmalign.config.load import from_mapping, load_config, save_resolved
from mmalign.config.plugin import MethodConfig, RewardConfig
from mmalign.config.run import RunConfig
from mmalign.config.sections import (
    AdapterConfig,
    DataConfig,
    FullConfig,
    LoraAdapterConfig,
    ModelConfig,
    TrainConfig,
    ValidationConfig,
)

__all__ = [
    "AdapterConfig",
    "DataConfig",
    "EvaluateConfig",
    "FullConfig",
    "LoraAdapterConfig",
    "MethodConfig",
    "ModelConfig",
    "PairsConfig",
    "RewardConfig",
    "RunConfig",
    "TrainConfig",
    "ValidationConfig",
    "from_mapping",
    "load_config",
    "save_resolved",
]
