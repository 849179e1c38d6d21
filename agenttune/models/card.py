"""The card beside an adapter, and the fingerprint that ties it to its base."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttune.errors import UserError
from agenttune.files import read_json, write_text
from agenttune.values.adapter import Card

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "agenttune.json"
_SHAPE = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
_ROWS = 256


def read_card(folder: str | Path) -> Card | None:
    """The card of an adapter's or a model's folder, None where there is none. Raises `UserError` for one that cannot be read."""
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    raw = read_json(path, "the card")
    if not isinstance(raw, dict):
        raise UserError(f"the card {path} must be a JSON object")
    return _card(raw, path)


def _card(raw: dict[str, Any], path: Path) -> Card:
    kinds = {"length": int, "stops": list, **dict.fromkeys(("template_options", "argument_orders", "config", "data", "versions"), dict)}
    fields = dataclasses.fields(Card)
    names = [one.name for one in fields]
    unknown = [key for key in raw if key not in names]
    if unknown:
        raise UserError(f'the card {path} has a key this version does not know, "{unknown[0]}"; a newer agenttune wrote it')
    for one in fields:
        if one.name not in raw:
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                raise UserError(f'the card {path} lacks "{one.name}"; without a card, remove the file and name --protocol and --template')
        elif not isinstance(raw[one.name], kinds.get(one.name, str)) or isinstance(raw[one.name], bool):
            raise UserError(f'"{one.name}" in the card {path} must be {_said(kinds.get(one.name, str))}, not {raw[one.name]!r}')
    if not all(isinstance(stop, str) for stop in raw.get("stops", ())):
        raise UserError(f'"stops" in the card {path} must be a list of texts')
    if not all(_are_orders(orders) for orders in raw.get("argument_orders", {}).values()):
        raise UserError(f'"argument_orders" in the card {path} must give lists of lists of names')
    return Card(**{**raw, "stops": tuple(raw.get("stops", ()))})


def _are_orders(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in value)


def _said(kind: type) -> str:
    return {str: "text", int: "a whole number", list: "a list", dict: "an object"}[kind]


def write_card(folder: str | Path, card: Card) -> None:
    """Writes the card as ``agenttune.json`` into `folder`, atomically."""
    plain = dataclasses.asdict(card)
    plain["stops"] = list(card.stops)
    write_text(Path(folder) / NAME, json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def fingerprint(hf: PreTrainedModel) -> str:
    """A hash of a transformers model's shape and of the signs of up to 256 evenly spaced rows of its input embedding.

    Signs survive every rounding, so the same checkpoint has one fingerprint in every dtype, on every device, and with
    quantised layers (embeddings stay whole); two trainings of one shape differ in some of them.
    """
    import torch

    config = hf.config.get_text_config(decoder=True)
    shape = {name: getattr(config, name, None) for name in _SHAPE}
    weight = hf.get_input_embeddings().weight.detach()
    count = min(_ROWS, weight.shape[0])
    rows = (torch.arange(count) * weight.shape[0] // count).to(weight.device)
    signs = torch.signbit(weight[rows]).to("cpu", torch.uint8).numpy().tobytes()
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode() + signs).hexdigest()[:32]
