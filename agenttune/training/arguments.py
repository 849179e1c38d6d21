"""`transformers.TrainingArguments` from the config's ``trainer`` table: what we own is refused by name, an unknown key too."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agenttune.config import TrainConfig
from agenttune.errors import UserError, nearest
from agenttune.training.distributed import zero
from agenttune.training.failures import failure_sentence

if TYPE_CHECKING:
    from transformers import TrainingArguments

# Fields that would change what this trainer does itself, and what to say instead.
OWNED: dict[str, str] = {
    "output_dir": "say output=…",
    "seed": "say seed=…",
    "data_seed": "say seed=…",
    "per_device_train_batch_size": "a batch is one Pack; say pack_samples, pack_tokens and trainer.gradient_accumulation_steps",
    "per_gpu_train_batch_size": "a batch is one Pack; say pack_samples, pack_tokens and trainer.gradient_accumulation_steps",
    "auto_find_batch_size": "say pack_tokens=…",
    "group_by_length": "Packs are filled by tokens already",
    "train_sampling_strategy": "Packs are planned by shared prefixes",
    "label_smoothing_factor": "the loss is a weighted cross entropy; say weights.…",
    "neftune_noise_alpha": "noise on a shared prefix would be the same in all its samples",
    "use_liger_kernel": "logits are made at supervised positions only already",
    "remove_unused_columns": "there are no columns here",
    "label_names": "there are no columns here",
    "disable_tqdm": "progress is shown by the command line",
    "logging_nan_inf_filter": "a loss that is not a number stops the run",
    "average_tokens_across_devices": "the loss is always the mean over the weights of the global step",
    "use_cpu": "say device=cpu",
    "resume_from_checkpoint": "say --resume",
    "overwrite_output_dir": "remove the folder, or name another with output=…",
    "load_best_model_at_end": "say check.keep_best",
    "eval_strategy": "say check.data and check.suite",
    "eval_steps": "say check.every",
    "eval_delay": "say check.every",
    "eval_on_start": "say check.every",
    "metric_for_best_model": "say check.suite or check.data",
    "greater_is_better": "say check.suite or check.data",
    "per_device_eval_batch_size": "held-out samples lie in Packs too; say pack_tokens",
    "push_to_hub": "nothing is uploaded by training",
    "fsdp": "use --deepspeed",
    "parallelism_config": "use --deepspeed",
    "accelerator_config": "gradients are summed and ranks are dealt Packs by this trainer",
    "dataloader_num_workers": "Packs are made in the training process",
    "dataloader_drop_last": "every sample is seen once an epoch",
    "ignore_data_skip": "a resumed run goes on with the data it has not seen",
    "restore_callback_states_from_checkpoint": "a resumed run restores what it needs",
    "save_only_model": "a checkpoint must be complete to be resumed",
    "save_safetensors": "weights are always safetensors",
}
PLAIN = "adamw_torch"
RENAMED = {"gradient_checkpointing": "activation_checkpointing", "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs"}
DEFAULTS: dict[str, Any] = {"logging_steps": 1, "save_strategy": "steps", "save_steps": 200, "save_total_limit": 2, "report_to": "none"}


def training_arguments(config: TrainConfig, device: str, dtype: str = "float32") -> TrainingArguments:
    """The arguments of a run; a run of several processes initialises its process group here.

    `dtype` is the base's, which DeepSpeed casts trained weights to. Raises `UserError` for a field that is unknown, owned by this
    trainer, or of a wrong type or value, and where the process group cannot be made.
    """
    from transformers import TrainingArguments

    given = dict(config.trainer)
    known = {one.name: one for one in dataclasses.fields(TrainingArguments) if one.init}
    for name, value in given.items():
        if name in OWNED:
            raise UserError(f"trainer.{name} cannot be set: {OWNED[name]}")
        if name not in known and name not in RENAMED and name != "warmup_ratio":
            raise UserError(f'unknown key "trainer.{name}"{nearest(name, [*known, "warmup_ratio"])}; it is no field of TrainingArguments')
        _check(name, value, known)
    for old, new in RENAMED.items():
        if old in given:
            given.setdefault(new, given.pop(old))
    if "warmup_ratio" in given:  # newer transformers read a warm-up below one as a share
        given.setdefault("warmup_steps", float(given.pop("warmup_ratio")))
    if given.get("activation_checkpointing"):
        given.setdefault("activation_checkpointing_kwargs", {"use_reentrant": False})
    if why_not_paged(config, device):
        given["optim"] = PLAIN
    _check_reporters(given.get("report_to"))
    settings = zero.deepspeed_settings(config)
    if settings and "optimizer" in settings and config.lora.lr_ratio != 1:
        raise UserError(
            'lora.lr_ratio needs two learning rates, and the "optimizer" of the DeepSpeed settings has one: leave it out of them'
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            met = {} if settings is None else {**_precision(given, dtype), **zero.join_process_group(device), "deepspeed": settings}
            return TrainingArguments(**{**DEFAULTS, **given, **met, **_ours(config, device)})
    except (ValueError, TypeError, KeyError, ImportError, RuntimeError, OSError) as error:
        if isinstance(error, RuntimeError) and failure_sentence(error, config, 0) is not None:
            raise
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error


def why_not_paged(config: TrainConfig, device: str) -> str | None:
    """Why a paged optimizer is not used on this device, or None: its states move between GPU and host by CUDA's unified memory."""
    name = str(config.trainer.get("optim", ""))
    if not name.startswith("paged_") or (device == "cuda" and _pages()):
        return None
    if "adamw" not in name:
        raise UserError(f"trainer.optim is {name}, whose paging needs a CUDA device; name one without paging, such as {PLAIN}")
    return f"the optimizer is {PLAIN}: the paging of {name} needs a CUDA device and a bitsandbytes that was built for it"


def _pages() -> bool:
    from bitsandbytes.cextension import lib

    return bool(getattr(lib, "compiled_with_cuda", False))


def _check_reporters(named: Any) -> None:
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    there = get_available_reporting_integrations()
    for name in named if isinstance(named, list) else [named]:
        if name in (None, "none", "all") or name in there:
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            raise UserError(
                f'trainer.report_to is "{name}"{nearest(str(name), INTEGRATION_TO_CALLBACK)}; known: tensorboard, wandb, trackio, …'
            )
        raise UserError(f"trainer.report_to is {name}, which is not installed: pip install {name}")


def _precision(given: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """DeepSpeed's own number format: that of the base, so that nothing is held wider than it was loaded."""
    name = {"bfloat16": "bf16", "float16": "fp16"}.get(dtype)
    return {} if name is None or "bf16" in given or "fp16" in given else {name: True}


def _ours(config: TrainConfig, device: str) -> dict[str, Any]:
    return {
        "output_dir": config.output,
        "seed": config.seed,
        "per_device_train_batch_size": 1,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,
        "label_names": [],
        "ddp_find_unused_parameters": False,
        **({"use_cpu": True} if device == "cpu" else {}),
    }


def _check(name: str, value: Any, known: Mapping[str, Any]) -> None:
    """Numbers and switches must be such; the rest is for TrainingArguments to say."""
    field = known.get(RENAMED.get(name, name))
    default = 0.0 if name == "warmup_ratio" else getattr(field, "default", None)
    if isinstance(default, bool) and not isinstance(value, bool):
        raise UserError(f"trainer.{name} must be true or false, not {value!r}")
    number = isinstance(default, int | float) and not isinstance(default, bool)
    if number and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UserError(f"trainer.{name} must be a number, not {value!r}")
