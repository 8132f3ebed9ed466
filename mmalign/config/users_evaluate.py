"""The configuration of an evaluation for people."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from mmalign.config.plugin import RewardConfig, named, section_of
from mmalign.config.section import Section
from mmalign.config.sections import ModelConfig, SourceConfig


class EvaluateUsersConfig(Section):
    """What a run with the section `users` draws for people, against its base and against one model for everybody."""

    model: ModelConfig = Field(description="the base")
    run_path: Path = Field(description="the run's folder: a conditioner, a LoRA where there is one, and the encoder of new people")
    population_path: Path | None = Field(
        None, description="what was aligned to everybody's choices together: a LoRA folder, or one with the full model; None = none"
    )
    choices: SourceConfig | None = Field(
        None, description="choices of people, with user_id, from which they are embedded; None = people whom the run knows by name"
    )
    judge: Annotated[SerializeAsAny[RewardConfig], BeforeValidator(named(RewardConfig))] = Field(
        description="the reward that judges in people's place; it takes each person's name as its `user` (`mmalign list rewards taste`)"
    )
    witnesses: list[Annotated[SerializeAsAny[RewardConfig], BeforeValidator(named(RewardConfig))]] = Field(
        default_factory=list, description="rewards that are nobody's taste, such as how well the prompt is followed"
    )
    prompts: str = Field(
        "shapes/open_final", description="prompts: a file (.txt, one a line; .jsonl, .csv), a set (`mmalign list prompts`), or shapes/SPLIT"
    )
    limit: int | None = Field(None, ge=1, description="use the first so many prompts; None = all")
    seen: int = Field(16, ge=0, description="people of whom the run was trained on choices, at most")
    unseen: int = Field(32, ge=0, description="people of whom it was not, at most")
    shots: list[int] = Field(
        [1, 2, 4, 8],
        min_length=1,
        description="numbers of choices that an embedding of an unseen person is made of, drawn at random, prompts taking turns",
    )
    main_shots: int = Field(4, ge=1, description="the number wherever none is named; one of shots")
    interpolations: int = Field(4, ge=0, description="pairs of people between whom embeddings are mixed; 0 = none")
    scale: float = Field(1.0, ge=0, description="strength of the conditioner, no unit; 1 = as trained, 0 = without it")
    num_inference_steps: int | None = Field(None, ge=1, description="denoising steps per picture; None = the model's own default")
    guidance_scale: float | None = Field(
        None, ge=0, description="classifier-free guidance, no unit; 1 or less = none; None = the model's own default"
    )
    batch_size: int = Field(8, ge=1, description="pictures drawn at once, for different people")
    confidence: float = Field(0.95, gt=0, lt=1, description="probability that an interval covers what it is about")
    resamples: int = Field(10_000, ge=100, description="bootstrap samples of people and prompts behind an interval")
    seed: int = Field(0, ge=0, description="seed of the noise, of the bootstrap, and of which choices people are known by")
    output_dir: Path = Field(description="folder for report.json, report.html, scores.jsonl and people.png")

    @classmethod
    def part(cls, field: str, value: Any) -> type[Section] | None:
        if field == "judge":
            return section_of(RewardConfig, value.get("name") if isinstance(value, dict) else value)
        return SourceConfig if field == "choices" else super().part(field, value)

    @model_validator(mode="after")
    def _main_shots_is_one_of_them(self) -> "EvaluateUsersConfig":
        if self.choices is not None and self.main_shots not in self.shots:
            raise ValueError(f"main_shots is {self.main_shots}, but shots are {self.shots}; name one of them")
        return self

    @model_validator(mode="after")
    def _there_are_people(self) -> "EvaluateUsersConfig":
        if not self.seen + self.unseen:
            raise ValueError("seen and unseen are both 0, so that there is nobody to draw for; raise one of them")
        return self
