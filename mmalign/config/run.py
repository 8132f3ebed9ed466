"""The configuration of a training run: of an image generator, and what every kind of model shares."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from mmalign.config.guard import Guard
from mmalign.config.online import OnlineConfig, check_method
from mmalign.config.plugin import MethodConfig, PluginConfig, RewardConfig, named, section_of
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
from mmalign.config.speed import SpeedConfig
from mmalign.config.users import Users, UsersConfig

Method = Annotated[
    SerializeAsAny[MethodConfig],
    BeforeValidator(named(MethodConfig)),
    Field(description="the objective (`mmalign list methods`) and its own fields"),
]
Train = Annotated[TrainConfig, Field(description="how to train")]
OutputDir = Annotated[Path, Field(description="folder for the result, the checkpoints and this configuration")]
Seed = Annotated[int, Field(ge=0, description="seed of everything random in the run")]

PLUGINS: dict[str, type[PluginConfig]] = {"method": MethodConfig, "scorer": RewardConfig}
"""Sections whose keys are the fields of a plug-in."""


class TrainingConfig(Section):
    """A training run. Every kind of model has the sections ``data, method, train, guard, output_dir, seed`` beside its own."""

    @classmethod
    def part(cls, field: str, value: Any) -> type[Section] | None:
        name = value.get("name") if isinstance(value, dict) else value
        if field == "adapter":
            return adapter_section(name)
        if field in PLUGINS:
            return section_of(PLUGINS[field], name)
        return super().part(field, value)

    @model_validator(mode="after")
    def _something_is_trained(self) -> "TrainingConfig":
        if getattr(getattr(self, "adapter", None), "name", None) == "none" and getattr(self, "users", None) is None:
            raise ValueError("adapter none leaves nothing to train without users; choose lora or full, or add users to an image generator")
        return self


class RunConfig(TrainingConfig):
    """A training run: model, adapter, data, method, training, validation, and where the result goes."""

    model: ModelConfig = Field(description="the pipeline to align")
    adapter: AdapterConfig = Field(default_factory=LoraAdapterConfig, description="what is trained: a LoRA, all weights, or none")
    data: DataConfig = Field(description="the preferences to train on")
    method: Method
    train: Train = Field(default_factory=TrainConfig)
    online: OnlineConfig | None = Field(None, description="pictures to train on, drawn during the run; None = those of the data")
    users: Users = None
    speed: SpeedConfig = Field(default_factory=SpeedConfig, description="how the denoiser is computed")
    validation: ValidationConfig = Field(default_factory=ValidationConfig, description="pictures drawn to look at")
    guard: Guard
    output_dir: OutputDir
    seed: Seed = 0

    @classmethod
    def part(cls, field: str, value: Any) -> type[Section] | None:
        return {"online": OnlineConfig, "users": UsersConfig}.get(field) or super().part(field, value)

    @model_validator(mode="after")
    def _the_adapter_goes_on_the_base(self) -> "RunConfig":
        if self.model.quantization is None:
            return self
        if self.adapter.name == "full":
            raise ValueError("weights of 4 bits cannot be trained; set adapter to lora, or leave model.quantization out")
        if getattr(self.adapter, "dora", False):
            raise ValueError("adapter.dora does not start at a base of 4 bits; leave it out, or leave model.quantization out")
        return self

    @model_validator(mode="after")
    def _speed_is_used(self) -> "RunConfig":
        if self.speed.recompute != 1 and not self.train.gradient_checkpointing:
            raise ValueError("speed.recompute has no effect without train.gradient_checkpointing; set it, or leave recompute out")
        if self.speed.attention == "xformers" and self.users is not None:
            raise ValueError("speed.attention xformers takes the place of the attention that users have a part in; use flash or auto")
        if self.speed.shard and (wrong := next((key for key, used in self._not_split().items() if used), None)):
            raise ValueError(f"speed.shard does not go with {wrong}; leave one of them out")
        return self

    def _not_split(self) -> dict[str, bool]:
        """What a model in parts cannot do, and whether it is asked for."""
        return {
            "online": self.online is not None,
            "users": self.users is not None,
            "validation.steps, whose pictures one process draws": self.validation.steps is not None,
            "speed.compile": self.speed.compile != "none",
            "model.quantization": self.model.quantization is not None,
            "train.mixed_precision fp16": self.train.mixed_precision == "fp16",
            f"train.optimizer {self.train.optimizer}": self.train.optimizer != "adamw",
        }

    @model_validator(mode="after")
    def _the_method_has_its_pictures(self) -> "RunConfig":
        check_method(self.method.build(), self.method.name, self.online)
        if self.online is not None and self.data.buckets:
            raise ValueError("data.buckets does not go with online, whose pictures are drawn as squares; leave one of them out")
        if self.online is not None and self.data.reference_draws:
            raise ValueError("data.reference_draws does not go with online, whose pictures are other ones in every round; set it to 0")
        return self

    @model_validator(mode="after")
    def _users_have_pictures_to_prefer(self) -> "RunConfig":
        if self.users is None:
            return self
        if self.online is not None:
            raise ValueError(
                "users does not go with online, whose pictures are preferred by a reward and not by people; leave one of them out"
            )
        if self.users.shown is not None and not self.validation.prompts:
            raise ValueError("users.shown is whom validation draws for, but validation.prompts is empty; give prompts, or leave it out")
        return self
