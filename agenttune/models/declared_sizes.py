"""What a model's or an adapter's files say of its size, held against its weights before anything of that size is made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agenttune.errors import UserError

Shapes = Mapping[str, tuple[int, ...]]
_FEW = 256  # of layers or experts; so many cost nothing, whatever the weights hold
_WIDE = 8192  # of a side of a matrix; one so wide costs little
_SIDES = re.compile(r"(.*_)?(hidden_size|intermediate_size|vocab_size|ffn_dim|n_embd|n_inner|d_model|d_ff|head_dim|heads)")
_COUNTED = re.compile(r"(?!max_)(.*_)?(layers?|blocks?|depth|experts)")
_RANKS = ("r", "init_r", "target_r", "oft_block_size", "boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "n_frequency")
_TABLES = ("rank_pattern",)


def tensor_shapes(*files: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, by the headers of safetensors files. Raises `UserError` for one that cannot be read."""
    from safetensors import SafetensorError, safe_open

    found = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118  # not a dict
                    found[name] = tuple(opened.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise UserError(f"cannot read {file}: {error}; get the file again") from error
    return found


def check_counts(config: Mapping[str, Any], shapes: Shapes, where: str) -> None:
    """Raises `UserError` where a ``config.json`` says more layers or experts than the weights can hold (each has a tensor, or a row), or
    wider ones than any side of a tensor."""
    sizes = {size for shape in shapes.values() for size in shape}
    largest = max(sizes, default=0)
    for key, value in _numbers(config):
        if _COUNTED.fullmatch(key) and value > max(len(shapes), _FEW) and value not in sizes:
            raise UserError(f"{where} says {key} {value}, and its weights hold {len(shapes)} tensors; get the model again")
        if _SIDES.fullmatch(key) and value > max(largest, _WIDE):
            raise UserError(f"{where} says {key} {value}, and no side of its weights is longer than {largest}; get the model again")


def check_ranks(config: Mapping[str, Any], shapes: Shapes, where: str) -> None:
    """Raises `UserError` where an ``adapter_config.json`` says a rank that is larger than every side of the adapter's weights."""
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    tables = [value for key in _TABLES if isinstance(value := config.get(key), Mapping)]
    said = [config.get(key) for key in _RANKS] + [rank for table in tables for rank in table.values()]
    for rank in said:
        if isinstance(rank, int) and rank > max(largest, _FEW):
            raise UserError(f"{where} says a rank of {rank}, and no side of its weights is longer than {largest}")


def _numbers(value: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, int]]:
    """Whole numbers by key, those of the parts too."""
    for key, one in value.items():
        if isinstance(one, Mapping) and depth < 3:
            yield from _numbers(one, depth + 1)
        elif isinstance(one, int) and not isinstance(one, bool):
            yield key, one
