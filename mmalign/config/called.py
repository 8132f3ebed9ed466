"""What other trainers call a key, so that a user of theirs is told ours."""

from collections.abc import Iterable

OURS = {
    "lr": "learning_rate",
    "batch_size": "train_batch_size",
    "per_device_train_batch_size": "train_batch_size",
    "max_steps": "max_train_steps",
    "steps": "max_train_steps",
    "epochs": "max_train_steps",
    "num_train_epochs": "max_train_steps",
    "lora_rank": "rank",
    "network_dim": "rank",
    "r": "rank",
    "lora_alpha": "alpha",
    "network_alpha": "alpha",
    "target_modules": "targets",
    "beta_dpo": "beta",
    "dpo_beta": "beta",
    "pretrained_model_name_or_path": "pretrained",
    "model_name_or_path": "pretrained",
    "dataset_name": "source",
    "train_data_dir": "source",
    "dataset_split_name": "split",
    "lr_warmup": "lr_warmup_steps",
    "warmup_steps": "lr_warmup_steps",
    "weight_decay": "adam_weight_decay",
    "save_steps": "checkpointing_steps",
    "precision": "mixed_precision",
    "validation_steps": "steps",
    "num_workers": "dataloader_num_workers",
    "use_8bit_adam": "optimizer",
}
"""Names of diffusers' scripts, TRL, peft and kohya's sd-scripts, with underscores, by those of ours."""


def meant(key: str, known: Iterable[str]) -> str | None:
    """Half a sentence that names the key that is meant by another trainer's name; None where there is none.

    >>> meant("lr", ["learning_rate", "seed"])
    "did you mean 'learning_rate'?"
    """
    ours = OURS.get(key.rpartition(".")[2].lower().replace("-", "_").lstrip("_"))
    found = [one for one in known if one.rpartition(".")[2].lstrip("-").replace("-", "_") == ours]
    return f"did you mean {found[0]!r}?" if found else None
