"""One side of `vlm.py`, run by the interpreter that has its package: `vlm_sides.py SIDE PLAN` prints a line of JSON,
longer with each number of images.

Both sides train the same LoRA of the language model with DPO, by the code that their users run: `mmalign train` here, `DPOTrainer.train`
there. Both read the same files with the same processor. What is compared at step 0 is a batch of the first rows, with an adapter that is
already away from its start, so that policy and reference differ.
"""

import json
import re
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vlm_measures import Clock, Memory

RANK, ALPHA, BETA, RATE = 16, 32, 0.1, 1e-5
SPREAD = 0.05  # standard deviation of all factors of the adapter at step 0


def main() -> None:
    side, plan = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    torch.set_num_threads(plan["threads"])
    run, packages = {
        "mmalign": (partial(mmalign, cached=False), ("mmalign",)),
        "mmalign_cached": (partial(mmalign, cached=True), ("mmalign",)),
        "trl": (trl, ("trl",)),
    }[side]
    found: dict[str, Any] = {"versions": {name: version(name) for name in (*packages, "transformers", "torch")}}
    for count in plan["images"]:
        found[str(count)] = run(plan, count, Path(plan["folder"]) / f"{side}_{count}")
        print(json.dumps(found), flush=True)  # the last line is the whole; a run that is cut off leaves what it had


def mmalign(plan: Mapping[str, Any], count: int, out: Path, cached: bool) -> dict[str, Any]:
    from mmalign.config import ResponseRunConfig, from_mapping
    from mmalign.training.log import RunLog
    from mmalign.training.loop import fit
    from mmalign.training.responses import building
    from mmalign.training.run import batches, make_accelerator

    config = from_mapping(_ours(plan, count, out, cached), ResponseRunConfig)
    out.mkdir(exist_ok=True)
    accelerator, clock = make_accelerator(config.train, out), Clock(plan["device"])
    with building(config, accelerator, out) as parts:
        run, policy = parts.run, parts.run.policy
        displace(policy.module)
        first = [parts.dataset[i, i] for i in range(plan["batch_size"])]
        inputs = policy.prepare(parts.collate(first).to(accelerator.device))
        output = run.objective(policy, inputs)
        told = at_start(output.loss.mean(), policy.module, [scored(row.prompts[0]) for row in first], out)
        if cached:
            for items in batches(parts, 0):
                with torch.no_grad(), policy.reference():
                    policy.logps(policy.prepare(items.to(accelerator.device)))
        memory = Memory(plan["device"])
        fit(run, partial(batches, parts), RunLog(accelerator, out), clock)
        return told | clock.per_sample(plan["batch_size"]) | memory.peak()


def _ours(plan: Mapping[str, Any], count: int, out: Path, cached: bool) -> dict[str, Any]:
    source = out.parent / f"rows_{count}.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in plan["rows"][str(count)]), encoding="utf-8")
    half = plan["dtype"] == "bfloat16"
    train = {
        "max_train_steps": plan["steps"],
        "train_batch_size": plan["batch_size"],
        "learning_rate": RATE,
        "mixed_precision": "bf16" if half else "no",
        "gradient_checkpointing": plan["gradient_checkpointing"],
        "logging_steps": plan["steps"],
        "report_to": "none",
    }
    return {
        "vlm": {"pretrained": plan["model"], "dtype": plan["dtype"]},
        "adapter": {"name": "lora", "rank": RANK, "alpha": ALPHA},
        "data": {"name": "trl", "source": str(source)} | ({"reference_cache": str(out / "reference")} if cached else {}),
        "method": {"name": "dpo", "beta": BETA},
        "train": train,
        "output_dir": str(out),
    }


def scored(prompt: Any) -> list[Any]:
    """The tokens of each response's sequence, and which are scored."""
    both = zip(prompt.responses, prompt.masks, strict=True)
    return [[prompt.prefix.tolist() + said.tolist(), [0] * len(prompt.prefix) + mask.int().tolist()] for said, mask in both]


def trl(plan: Mapping[str, Any], count: int, out: Path) -> dict[str, Any]:
    from datasets import Dataset
    from datasets import Image as Picture
    from peft import LoraConfig
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    model = AutoModelForImageTextToText.from_pretrained(plan["model"], dtype=getattr(torch, plan["dtype"]))
    processor = AutoProcessor.from_pretrained(plan["model"])
    processor.image_processor = AutoImageProcessor.from_pretrained(plan["model"], backend="pil")  # as the other side
    settings = DPOConfig(str(out), **_theirs(plan))
    rows = [
        row | {"prompt": [_turn("user", row["prompt"])], **{name: [_turn("assistant", row[name])] for name in ("chosen", "rejected")}}
        for row in plan["rows"][str(count)]
    ]
    clock = Clock(plan["device"])
    trainer = DPOTrainer(
        model,
        args=settings,
        train_dataset=Dataset.from_list(rows).cast_column("images", [Picture()]),
        processing_class=processor,
        peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=plan["lora"]),
        callbacks=[type("Steps", (TrainerCallback,), {"on_step_end": lambda self, *given, **more: clock()})()],
    )
    displace(trainer.model)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(plan["batch_size"])])
    told = at_start(trainer.compute_loss(trainer.model, trainer._prepare_inputs(dict(batch))), trainer.model, _scored(batch), out)
    memory = Memory(plan["device"])
    trainer.train()
    return told | clock.per_sample(plan["batch_size"]) | memory.peak()


def _turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def _theirs(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "beta": BETA,
        "max_length": None,
        "max_steps": plan["steps"],
        "per_device_train_batch_size": plan["batch_size"],
        "learning_rate": RATE,
        "weight_decay": 0.01,
        "lr_scheduler_type": "constant",
        "bf16": plan["dtype"] == "bfloat16",
        "gradient_checkpointing": plan["gradient_checkpointing"],
        "use_cpu": plan["device"] == "cpu",
        "save_strategy": "no",
        "logging_steps": plan["steps"],
        "report_to": "none",
        "disable_tqdm": True,
    }


def _scored(batch: Mapping[str, Tensor]) -> list[Any]:
    """As ``scored``, row by row: TRL's batch holds all chosen answers, then all rejected ones, padding around both."""
    rows = zip(batch["input_ids"], batch["attention_mask"].bool(), batch["completion_mask"], strict=True)
    told = [[ids[kept].tolist(), mask[kept].tolist()] for ids, kept, mask in rows]
    half = len(told) // 2
    return [list(pair) for pair in zip(told[:half], told[half:], strict=True)]


def displace(module: nn.Module) -> None:
    """Gives the adapter the numbers that it has on every side, away from where training starts it."""
    for place, (_, parameter) in enumerate(sorted(adapter(module).items())):
        drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(place)) * SPREAD
        parameter.data.copy_(drawn)


def adapter(module: nn.Module) -> dict[str, nn.Parameter]:
    """The trained tensors by the names that they have in the plain model."""
    found = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    return {re.sub(r"^.*(?=language_model)|\.(?:default|mmalign)(?=\.weight)", "", name): found[name] for name in found}


def at_start(loss: Tensor, module: nn.Module, tokens: list[Any], out: Path) -> dict[str, Any]:
    """Loss and tokens of the first batch; its gradients go to a file."""
    loss.backward()
    gradients = {name: parameter.grad.cpu().contiguous() for name, parameter in adapter(module).items()}
    save_file(gradients, out.with_suffix(".safetensors"))
    module.zero_grad(set_to_none=True)
    return {"loss": loss.item(), "tokens": tokens}


if __name__ == "__main__":
    main()
