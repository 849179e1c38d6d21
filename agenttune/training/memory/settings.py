"""What of a training config decides its memory, as numbers: no model and no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agenttune.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """What of a config decides its memory. `half`: 16-bit activations; `tokens`: of one pack, of which `supervised` are trained.

    `fused` is False under ZeRO-3, where only a module's own call gathers its weights, so that layers run as their libraries have them.
    """

    method: str
    rank: int
    tokens: int
    supervised: int
    half: bool
    checkpointing: bool
    accumulation: int
    state: float  # the optimizer's bytes for each trained number
    gpu: bool = True
    dropout: bool = False
    fused: bool = True

    @property
    def peft_layers(self) -> bool:
        """Whether PEFT's layers run as they are (over a quantised base, with dropout, as DoRA): `lora_linear.plain` says when."""
        return self.method in ("qlora", "dora") or (self.method == "lora" and (self.dropout or not self.fused))

    @property
    def width(self) -> int:
        """Bytes of an activation."""
        return 2 if self.half else 4


def memory_settings(config: TrainConfig, *, tokens: int | None = None, supervised: int | None = None) -> MemorySettings:
    """The settings of a config; `tokens` in place of its ``pack_tokens`` (one sample alone may be longer, up to ``length``)."""
    full = max(config.pack_tokens, config.length) if config.pack != "none" else config.length
    tokens = full if tokens is None else tokens
    trainer: Mapping[str, object] = config.trainer
    gpu = config.device != "cpu"
    half = config.dtype in ("bfloat16", "float16") or (config.dtype == "auto" and gpu and config.method != "full")
    return MemorySettings(
        method=config.method,
        rank=config.lora.r,
        tokens=tokens,
        supervised=tokens if supervised is None else supervised,
        half=half or bool(trainer.get("bf16") or trainer.get("fp16")),
        checkpointing=config.checkpointing,
        accumulation=int(str(trainer.get("gradient_accumulation_steps", 1))),
        state=optimizer_state(str(trainer.get("optim", "adamw_torch"))),
        gpu=gpu,
        dropout=config.method != "full" and config.lora.dropout > 0,
    )


def optimizer_state(name: str) -> float:
    """Bytes an optimizer keeps for each trained number: two float32 for Adam's kin, one for Lion, a quarter of it in 8 bits."""
    numbers = 0 if name.startswith(("sgd", "adafactor")) else 1 if "lion" in name or "rmsprop" in name or "adagrad" in name else 2
    return numbers * (1.0 + 4 / 256 if "8bit" in name else 4.0)
