"""One config file is one whole run: YAML, few fields, an unknown key fails with the nearest name."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agenttune.errors import UserError, nearest
from agenttune.files import read_text, shipped
from agenttune.yaml_text import yaml_value

MOST_SIZE = 10_000_000  # of any number in a model's shape
MOST_WEIGHT = 1000  # times that a file's samples are seen in an epoch
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file of samples and how many times (a fraction draws a part) its samples are seen in an epoch."""

    path: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """LoRA (Hu et al., arXiv 2106.09685): rank, scale, dropout, and the linear layers it stands beside.

    `lr_ratio` is B's learning rate over A's, which is ``trainer.learning_rate`` (LoRA+, Hayou et al., arXiv 2402.12354).
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    lr_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """Checks every `every` steps: the loss of held-out samples in `data`, and `cases` cases of `suite` judged as ``agenttune eval`` does.

    With `keep_best` the result is the best check's: of most cases right, else of least loss. After `patience` checks in a row
    without a better one the run ends (0: never). At least one of `data` and `suite` is needed.
    """

    data: str | None = None
    suite: str | None = None
    cases: int = 64
    every: int = 100
    max_new_tokens: int = 96
    keep_best: bool = True
    patience: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training run. `trainer` holds fields of `transformers.TrainingArguments`.

    `pack_samples` samples at most, and `pack_tokens` tokens at most after sharing, make one Pack; a step is
    ``trainer.gradient_accumulation_steps`` Packs. `length` bounds one sample in tokens; a longer one is rejected and counted.
    `protocol` and `template` may be ``auto``: what the samples say, and the tokenizer's own template.
    `template_options` are what that template asks for besides messages (``enable_thinking``, ``reasoning_effort``), and a ``date`` for
    one that writes the day; the card keeps them. `trust_remote_code` runs
    code that the checkpoint brings. `shape` is the model's, in the words of its ``config.json``, for `agenttune plan` where the
    model is not at hand.
    """

    model: str
    shape: Mapping[str, int | bool] = field(default_factory=dict)
    data: tuple[DataFile, ...]
    output: str
    adapter: str | None = None
    protocol: str = "auto"
    template: str = "auto"
    template_options: Mapping[str, Scalar] = field(default_factory=dict)
    method: Literal["lora", "qlora", "dora", "full"] = "lora"
    lora: LoraConfig = field(default_factory=LoraConfig)
    check: CheckConfig | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    length: int = 2048
    pack: Literal["share", "pack", "none"] = "share"
    pack_tokens: int = 4096
    pack_samples: int = 16
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    trainer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def checkpointing(self) -> bool:
        """Whether gradient checkpointing is on: each block's activations are recomputed in the backward pass."""
        return bool(self.trainer.get("gradient_checkpointing") or self.trainer.get("activation_checkpointing"))


CHOICES: dict[str, tuple[str, ...]] = {
    "method": ("lora", "qlora", "dora", "full"),
    "pack": ("share", "pack", "none"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
}
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")  # what a shape must say
OPTIONAL = {"num_key_value_heads": int, "head_dim": int, "attention_bias": bool, "tie_word_embeddings": bool}  # what it may say
KINDS = ("thought", "action", "arguments", "answer", "stop")


def find_config(name: str) -> Path:
    """The file of a shipped config name or a path. Raises `UserError` with the nearest shipped name."""
    if Path(name).is_file():
        return Path(name)
    folder = shipped("configs")
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name in known:
        return folder / f"{name}.yaml"
    if Path(name).suffix in (".yaml", ".yml") or "/" in name:
        raise UserError(f"there is no config file {name}")
    raise UserError(f'there is no config "{name}"{nearest(name, known)}; shipped: {", ".join(known)}')


def load_config(name: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The config of `name` with ``key=value`` overrides (dotted keys, values as YAML). Raises `UserError` for whatever is wrong in it."""
    path = find_config(name)
    raw = yaml_value(read_text(path, "config"), str(path))
    if not isinstance(raw, dict):
        raise UserError(f"{path} must be a table of keys")
    for override in overrides:
        _override(raw, override)
    return config_from(raw, str(path))


def _override(raw: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f'"{override}" is not key=value')
    value = yaml_value(text, f'the value of "{override[:200]}"')
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        value = _number(value)
    *parents, last = key.split(".")
    table = raw
    for parent in parents:
        if not isinstance(table.setdefault(parent, {}), dict):
            raise UserError(f'"{key}": {parent} is not a table')
        table = table[parent]
    table[last] = value


def _number(text: str) -> Any:
    try:
        return float(text) if any(letter.isdigit() for letter in text) else text
    except ValueError:
        return text


def config_from(raw: Mapping[str, Any], where: str) -> TrainConfig:
    """A config from plain data; `where` names it in messages."""
    raw = dict(raw)
    _known(raw, TrainConfig, where, "")
    for key in ("model", "data", "output"):
        if not raw.get(key):
            raise UserError(f"{where} lacks {key} (give it as {key}=…)")
    raw["data"] = _data(raw["data"], where)
    raw["lora"] = _lora(raw.get("lora") or {}, where)
    raw["check"] = _check(raw["check"], where) if raw.get("check") else None
    raw["template_options"] = _template_options(raw.get("template_options") or {}, where)
    raw["weights"] = _weights(raw.get("weights") or {}, where)
    raw["shape"] = _shape(raw.get("shape") or {}, where)
    raw["trainer"] = _trainer(raw.get("trainer") or {}, where)
    for key, kind in (("length", int), ("pack_tokens", int), ("pack_samples", int), ("seed", int)):
        if key in raw:
            _expect(raw[key], kind, f"{key} in {where}", least=0 if key == "seed" else 1)
    if not isinstance(raw.get("trust_remote_code", False), bool):
        raise UserError(f"trust_remote_code in {where} must be true or false, not {raw['trust_remote_code']!r}")
    for key in ("model", "output", "protocol", "template", "adapter"):
        if raw.get(key) is not None and not isinstance(raw[key], str):
            raise UserError(f"{key} in {where} must be text, not {raw[key]!r}")
    for key, choices in CHOICES.items():
        if key in raw and raw[key] not in choices:
            raise UserError(f'{key} in {where} is "{raw[key]}"{nearest(str(raw[key]), choices)}; it must be one of {", ".join(choices)}')
    return TrainConfig(**raw)


def _known(raw: Mapping[str, Any], kind: type, where: str, prefix: str) -> None:
    names = [one.name for one in dataclasses.fields(kind)]
    for key in raw:
        if key not in names:
            raise UserError(f'unknown key "{prefix}{key}" in {where}{nearest(str(key), names)}; known: {", ".join(names)}')


def _expect(value: Any, kind: type, what: str, least: float | None = None) -> None:
    right = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not right or isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(f"{what} must be {'a whole number' if kind is int else 'a number'}, not {value!r}")
    if least is not None and value < least:
        raise UserError(f"{what} must be {least} or more, not {value!r}")


def _data(value: Any, where: str) -> tuple[DataFile, ...]:
    found = []
    for row in value if isinstance(value, list) else [value]:
        row = {"path": row} if isinstance(row, str) else row
        if not isinstance(row, dict) or not isinstance(row.get("path"), str):
            raise UserError(f"data in {where} must be a path, or a list of paths or of {{path, weight}}; not {row!r}")
        _known(row, DataFile, where, "data.")
        _expect(row.get("weight", 1.0), float, f"data weight in {where}", least=0)
        if row.get("weight", 1.0) > MOST_WEIGHT:
            raise UserError(f"data weight in {where} is how many times the samples are seen in an epoch, at most {MOST_WEIGHT:,}")
        found.append(DataFile(path=row["path"], weight=float(row.get("weight", 1.0))))
    return tuple(found)


def _lora(value: Any, where: str) -> LoraConfig:
    if not isinstance(value, Mapping):
        raise UserError(f"lora in {where} must be a table")
    _known(value, LoraConfig, where, "lora.")
    fields = dict(value)
    for key in ("r", "alpha"):
        if key in fields:
            _expect(fields[key], int, f"lora.{key} in {where}", least=1)
    if "dropout" in fields:
        _expect(fields["dropout"], float, f"lora.dropout in {where}", least=0)
        if fields["dropout"] >= 1:
            raise UserError(f"lora.dropout in {where} must be below 1, not {fields['dropout']}")
    if "lr_ratio" in fields:
        _expect(fields["lr_ratio"], float, f"lora.lr_ratio in {where}")
        if fields["lr_ratio"] <= 0:
            raise UserError(f"lora.lr_ratio in {where} must be above 0, not {fields['lr_ratio']}")
    if isinstance(fields.get("targets"), list):
        fields["targets"] = tuple(str(one) for one in fields["targets"])
    return LoraConfig(**fields)


def _shape(value: Any, where: str) -> dict[str, int | bool]:
    if not isinstance(value, Mapping):
        raise UserError(f"shape in {where} must be a table of {', '.join(SIZES)}")
    for key, one in value.items():
        if key not in (*SIZES, *OPTIONAL):
            raise UserError(
                f'unknown key "shape.{key}" in {where}{nearest(str(key), [*SIZES, *OPTIONAL])}; known: {", ".join([*SIZES, *OPTIONAL])}'
            )
        if OPTIONAL.get(key) is bool and not isinstance(one, bool):
            raise UserError(f"shape.{key} in {where} must be true or false, not {one!r}")
        if OPTIONAL.get(key) is not bool:
            _expect(one, int, f"shape.{key} in {where}", least=1)
            if one > MOST_SIZE:
                raise UserError(f"shape.{key} in {where} must be at most {MOST_SIZE:,}, not {one:,}")
    missing = [key for key in SIZES if value and key not in value]
    if missing:
        raise UserError(f"shape in {where} lacks {missing[0]}")
    return dict(value)


def _check(value: Any, where: str) -> CheckConfig:
    if not isinstance(value, Mapping):
        raise UserError(f"check in {where} must be a table")
    _known(value, CheckConfig, where, "check.")
    for key, least in (("cases", 1), ("every", 1), ("max_new_tokens", 1), ("patience", 0)):
        if key in value:
            _expect(value[key], int, f"check.{key} in {where}", least=least)
    for key in ("data", "suite"):
        if not isinstance(value.get(key), str | None):
            raise UserError(f"check.{key} in {where} must be text, not {value[key]!r}")
    if not isinstance(value.get("keep_best", True), bool):
        raise UserError(f"check.keep_best in {where} must be true or false, not {value['keep_best']!r}")
    if not (value.get("data") or value.get("suite")):
        raise UserError(f"check in {where} needs data (held-out samples) or suite (cases to judge), or both")
    return CheckConfig(**value)


def _template_options(value: Any, where: str) -> dict[str, Scalar]:
    """What a chat template asks for besides messages. A date, which YAML reads as one, is text again."""
    if not isinstance(value, Mapping):
        raise UserError(f"template_options in {where} must be a table of what the chat template asks for, such as enable_thinking")
    found = {str(key): one.isoformat() if isinstance(one, datetime.date) else one for key, one in value.items()}
    for key, one in found.items():
        if not isinstance(one, str | bool | int | float | None):
            raise UserError(f"template_options.{key} in {where} must be text, a number, true or false, not {one!r}")
    return found


def _weights(value: Any, where: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise UserError(f"weights in {where} must be a table of {', '.join(KINDS)}")
    for key, weight in value.items():
        if key not in KINDS:
            raise UserError(f'unknown kind "weights.{key}" in {where}{nearest(str(key), KINDS)}; known: {", ".join(KINDS)}')
        _expect(weight, float, f"weights.{key} in {where}", least=0)
    return {key: float(weight) for key, weight in value.items()}


def _trainer(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"trainer in {where} must be a table of transformers.TrainingArguments fields")
    return {key: _number(one) if isinstance(one, str) and key != "output_dir" else one for key, one in value.items()}


def config_to_json(config: TrainConfig) -> dict[str, Any]:
    """Plain data that `config_from` reads back."""
    plain = dataclasses.asdict(config)
    plain["data"] = [dict(one) for one in plain["data"]]
    if config.check is None:
        del plain["check"]
    if isinstance(plain["lora"]["targets"], tuple):
        plain["lora"]["targets"] = list(plain["lora"]["targets"])
    return plain
