"""An evaluation from its configuration."""

from pathlib import Path

from accelerate import PartialState

from mmalign import pipelines
from mmalign.config import EvaluateConfig, ModelConfig, RunConfig, load_training
from mmalign.config.generate import FPS
from mmalign.diffusion.aligned import Aligned
from mmalign.errors import UserError
from mmalign.evaluation.evaluate import evaluate
from mmalign.evaluation.plan import Options
from mmalign.evaluation.report import write_report
from mmalign.evaluation.result import Evaluation
from mmalign.evaluation.table import text_table
from mmalign.evaluation.verdict import verdict
from mmalign.prompts import load_prompts
from mmalign.reward import Reward

CONFIG_FILE, METRICS_FILE = "config.yaml", "metrics.jsonl"


def run(config: EvaluateConfig) -> Path:
    """Evaluates as configured, writes the report, prints the table; returns the report's page.

    Raises:
        UserError: the model, the adapter, the prompts or a reward cannot be used.
    """
    prompts = load_prompts(config.prompts)
    rewards = {reward.title: reward.build() for reward in config.rewards}
    family = pipelines.configured(model_of(config))
    size = family.sized(**config.size)
    family.pipe.to(PartialState().device)
    config = family.settled(config)
    call = {"num_inference_steps": config.num_inference_steps, "guidance_scale": config.guidance_scale}
    sides = Aligned(family, config.adapter_path, **call, **size)
    result = evaluate(
        sides.base,
        sides.aligned,
        prompts,
        rewards,
        config.aligned_to,
        used_for_labels=config.used_for_labels or None,
        seed=config.seed,
        seeds_per_prompt=config.seeds_per_prompt,
        thresholds=best_possible(rewards),
        options=Options(batch_size=config.batch_size, judged_frames=config.judged_frames, fps=config.fps or FPS),
    )
    metrics = config.adapter_path / METRICS_FILE
    page = write_report(result, config.output_dir, config=config.model_dump(mode="json"), metrics=metrics if metrics.is_file() else None)
    print(told(result))
    return page


def model_of(config: EvaluateConfig) -> ModelConfig:
    """The base, asked as the run in ``adapter_path`` asked it, where that has a configuration: at few timesteps, with a guidance."""
    known = {name: getattr(config, name) for name in ("pretrained", "family", "revision", "variant", "vae", "dtype")}
    try:
        run = load_training(config.adapter_path / CONFIG_FILE)
    except UserError:  # none, or one of another version
        run = None
    asked = {"timesteps": run.model.timesteps, "guidance": run.model.guidance} if isinstance(run, RunConfig) else {}
    return ModelConfig(**known | asked)


def best_possible(rewards: dict[str, Reward]) -> dict[str, float]:
    """The rewards whose best score is a count of all things right, with that score: a share of pictures that are wholly right."""
    return {name: reward.range[1] for name, reward in rewards.items() if reward.all_right_at_best}


def told(result: Evaluation) -> str:
    """The verdict and the table, for a terminal."""
    return f"{verdict(result)}\n\n{text_table(result)}"
