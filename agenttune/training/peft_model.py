"""What is trained of a model: LoRA beside its linear layers (over a whole or a quantised base), or all of it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agenttune.config import LoraConfig, TrainConfig
from agenttune.errors import UserError, nearest
from agenttune.models.card import fingerprint, read_card
from agenttune.models.library_messages import no_library_messages

if TYPE_CHECKING:  # peft and transformers are imported when a model is made
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"


def make_trainable(model: PreTrainedModel, config: TrainConfig, base_fingerprint: str | None = None) -> PreTrainedModel | PeftModel:
    """The model with its trainable weights marked: a PEFT model for ``lora``, ``qlora`` and ``dora``, itself for ``full``.

    ``dora`` is LoRA with the size of each row of a weight trained by itself (Liu et al., arXiv 2402.09353). LoRA weights are float32
    whatever the base is. `base_fingerprint` is the model's, where it is known already. Raises `UserError` for targets or an adapter
    that do not fit the model.
    """
    if config.method == "full":
        if config.adapter is not None:
            raise UserError("adapter=… goes on from an adapter; method=full trains the whole model, so merge the adapter first")
        model.requires_grad_(True)
        return model
    model.requires_grad_(False)
    if config.adapter is not None:
        return _continued(model, config.adapter, base_fingerprint or fingerprint(model))
    return _fresh(model, config.lora, config.method == "dora")


def lora_config_of(config: TrainConfig) -> LoraConfig:
    """The LoRA layers of a run: those of the adapter it goes on from, else the config's. Raises `UserError` for a folder without one."""
    if config.adapter is None:
        return config.lora
    import peft

    if not (Path(config.adapter) / "adapter_config.json").is_file():
        raise UserError(f"{config.adapter} holds no adapter (adapter_config.json is missing)")
    try:
        found = peft.PeftConfig.from_pretrained(config.adapter)
        return LoraConfig(r=found.r, alpha=found.lora_alpha, dropout=float(found.lora_dropout), targets=_targets(found.target_modules))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"the adapter in {config.adapter} is no LoRA adapter that can be read: {' '.join(str(error).split())[:200]}"
        ) from error


def _targets(found: str | set[str] | list[str] | None) -> str | tuple[str, ...]:
    return found if isinstance(found, str) else tuple(sorted(found or ()))


def _fresh(model: PreTrainedModel, lora: LoraConfig, dora: bool) -> PeftModel:
    import peft

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    if not isinstance(targets, str):
        _check_targets(model, targets)
    wanted = peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        bias="none",
        task_type="CAUSAL_LM",
        use_dora=dora,
    )
    try:
        with _without_warnings():
            return peft.get_peft_model(model, wanted)
    except ValueError as error:
        raise UserError(f"lora.targets: {' '.join(str(error).split())}") from error


def _check_targets(model: PreTrainedModel, targets: list[str]) -> None:
    import torch

    known = {name.split(".")[-1] for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)}
    for target in targets:
        if target not in known and not any(name.endswith(target) for name, _ in model.named_modules()):
            raise UserError(f'the model has no linear layer "{target}"{nearest(target, known)}; it has {", ".join(sorted(known))}')


def _continued(model: PreTrainedModel, folder: str, base_fingerprint: str) -> PeftModel:
    import peft

    card = read_card(folder)
    if card is not None and card.base_fingerprint != base_fingerprint:
        raise UserError(f"the adapter in {folder} was trained on another base ({card.base})")
    try:
        with _without_warnings():
            return peft.PeftModel.from_pretrained(model, folder, is_trainable=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"the adapter in {folder} does not fit the model: {' '.join(str(error).split())[:200]}") from error


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Without PEFT's warnings about transformers' names and about saving, of which none is for a person."""
    with no_library_messages(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def base_model_of(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The transformers model inside a PEFT model, or the model itself."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def save_weights(model: PreTrainedModel | PeftModel, folder: str | Path, state: dict[str, Tensor] | None = None) -> None:
    """Writes the adapter (PEFT's files) or, for a model that is trained as a whole, the model's."""
    with _without_warnings():
        if hasattr(model, "peft_config"):
            model.save_pretrained(str(folder), state_dict=state, save_embedding_layers=False)
            (Path(folder) / "README.md").unlink(missing_ok=True)  # an empty form of PEFT's; our card says what it asks
        else:
            model.save_pretrained(str(folder), state_dict=state)


def load_adapter_weights(model: PeftModel, folder: str | Path) -> None:
    """Puts a checkpoint's adapter weights into a PEFT model."""
    from peft import load_peft_weights, set_peft_model_state_dict

    set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
