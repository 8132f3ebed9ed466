"""The configuration of a training run."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny

from mmalign.config.plugin import MethodConfig, named, section_of
from mmalign.config.section import Section
from mmalign.config.sections import (
    AdapterConfig,
    DataConfig,
    LoraAdapterConfig,
    ModelConfig,
    TrainConfig,
    ValidationConfig,
    adapter_section,
)


class RunConfig(Section):
    """A training run: model, adapter, data, method, training, validation, and where the result goes."""

    model: ModelConfig = Field(description="the pipeline to align")
    adapter: AdapterConfig = Field(default_factory=LoraAdapterConfig, description="what is trained: a LoRA, or all weights")
    data: DataConfig = Field(description="the preferences to train on")
    method: Annotated[SerializeAsAny[MethodConfig], BeforeValidator(named(MethodConfig))] = Field(
        description="the objective (`mmalign list methods`) and its own fields"
    )
    train: TrainConfig = Field(default_factory=TrainConfig, description="how to train")
    validation: ValidationConfig = Field(default_factory=ValidationConfig, description="pictures drawn during the run")
    output_dir: Path = Field(description="folder for the result, the checkpoints and this configuration")
    seed: int = Field(0, ge=0, description="seed of everything random in the run")

    @classmethod
    def part(cls, field: str, value: Any) -> type[Section] | None:
        name = value.get("name") if isinstance(value, dict) else value
        if field == "adapter":
            return adapter_section(name)
        if field == "method":
            return section_of(MethodConfig, name)
        return super().part(field, value)
