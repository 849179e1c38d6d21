"""The shape of a decoder of Llama's kind: what a memory plan needs to know of a model, with no weights at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttune.config import MOST_SIZE, SIZES, TrainConfig
from agenttune.errors import UserError
from agenttune.files import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes in the words of ``config.json``: `heads` query heads and `kv_heads` key-value heads of `head_size` each."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    bias: bool = False
    tied: bool = False

    @property
    def linears(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the seven linear layers of a block: q, k, v, o, gate, up, down."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        wide = self.intermediate
        pairs = ((self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden))
        return (*pairs, (self.hidden, wide), (self.hidden, wide), (wide, self.hidden))

    @property
    def linear_parameters(self) -> int:
        """Weights of all blocks' linear layers: what is quantised."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def embedding_parameters(self) -> int:
        """Input embeddings and head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def other_parameters(self) -> int:
        """Norms and biases."""
        biases = self.layers * sum(outputs for _, outputs in self.linears[:4]) if self.bias else 0
        return (2 * self.layers + 1) * self.hidden + biases

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.linear_parameters + self.embedding_parameters + self.other_parameters

    def lora_parameters(self, rank: int) -> int:
        """LoRA of `rank` beside every linear layer of every block."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.linears)


def shape_of(config: TrainConfig) -> ModelShape:
    """The shape of a run's model: of its folder where it is at hand, else what the config says. Raises `UserError` that says what to do."""
    from agenttune.models.gguf import EMBEDDED

    file = Path(config.model).expanduser() / "config.json"
    if config.model == EMBEDDED:
        from agenttune.models.locate import locate

        file = locate(config.model).folder / "config.json"
    if file.is_file():
        raw = read_json(file, "the config")
        return shape_from(raw if isinstance(raw, dict) else {}, str(file))
    if config.shape:
        return shape_from(config.shape, "the config's shape")
    raise UserError(f"the shape of {config.model} is not known: give a folder as model=…, or a table shape with {', '.join(SIZES)}")


def shape_from(raw: Mapping[str, Any], where: str) -> ModelShape:
    """A shape from the keys of a ``config.json``. Raises `UserError` where one is missing or no number."""
    for key in SIZES:
        if not isinstance(raw.get(key), int) or not 1 <= raw[key] <= MOST_SIZE:
            raise UserError(f"{where} does not say {key}, so its memory cannot be planned")
    for key in ("num_key_value_heads", "head_dim"):
        if raw.get(key) and (not isinstance(raw[key], int) or not 1 <= raw[key] <= MOST_SIZE):
            raise UserError(f"{key} in {where} is no number of 1 or more, so its memory cannot be planned")
    heads = raw["num_attention_heads"]
    return ModelShape(
        hidden=raw["hidden_size"],
        layers=raw["num_hidden_layers"],
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_size=raw.get("head_dim") or raw["hidden_size"] // heads,
        intermediate=raw["intermediate_size"],
        vocabulary=raw["vocab_size"],
        bias=bool(raw.get("attention_bias", raw.get("bias", False))),
        tied=bool(raw.get("tie_word_embeddings", False)),
    )
