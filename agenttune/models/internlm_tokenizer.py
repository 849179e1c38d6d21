"""The tokenizers of InternLM checkpoints: sentencepiece, with the chat markers that each model was trained on as special tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.files import read_json
from agenttune.models.sentencepiece_model import CONTROL, UNKNOWN, SentencePieceModel, fast_tokenizer, read_sentencepiece

# What the chat models write around turns and calls. Where the vocabulary has one of these as a piece it is a special token,
# so that content can never yield it: InternLM (eoh, eoa, eosys), InternLM2 (the rest).
MARKERS = (
    "<eoh>", "<eoa>", "<eosys>", "<|im_start|>", "<|im_end|>", "<|action_start|>", "<|action_end|>", "<|interpreter|>", "<|plugin|>",
)  # fmt: skip


def save_tokenizer(folder: Path, aside: Path) -> None:
    """Writes the tokenizer of an InternLM checkpoint's `folder` into `aside`, in transformers' fast form. Raises `UserError`."""
    from transformers import PreTrainedTokenizerFast

    model = folder / "tokenizer.model"
    if not model.is_file():
        raise UserError(f"the model folder {folder} has no tokenizer.model")
    found = read_sentencepiece(model.read_bytes(), str(model))
    said = {**_json(folder / "special_tokens_map.json"), **_json(folder / "tokenizer_config.json")}
    roles = {role: _text(said.get(role)) or default for role, default in _defaults(found).items()}
    made = fast_tokenizer(found, _markers(found, said, roles, _json(folder / "added_tokens.json")))
    if said.get("add_bos_token", True) and roles["bos_token"]:
        _begin(made, roles["bos_token"])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, clean_up_tokenization_spaces=False, padding_side="left", **{key: one for key, one in roles.items() if one}
    )
    fast.chat_template = said.get("chat_template")
    fast.save_pretrained(aside)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    raw = read_json(path, "the tokenizer's settings")
    return raw if isinstance(raw, dict) else {}


def _text(value: Any) -> str | None:
    """A token as these files write it: its text, or an object with its content."""
    found = value.get("content") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) else None


def _defaults(found: SentencePieceModel) -> dict[str, str]:
    words = {piece for piece, _, _ in found.pieces}
    wanted = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    return {role: piece if piece in words else "" for role, piece in wanted.items()}


def _markers(found: SentencePieceModel, said: Mapping[str, Any], roles: Mapping[str, str], added: Mapping[str, Any]) -> dict[int, str]:
    """Special tokens by id: control pieces, chat markers that are pieces, and what the checkpoint lays over unused pieces."""
    ids = {piece: index for index, (piece, _, _) in enumerate(found.pieces)}
    markers = {index: piece for index, (piece, _, kind) in enumerate(found.pieces) if kind in (CONTROL, UNKNOWN)}
    markers |= {ids[text]: text for text in (*MARKERS, *roles.values()) if text in ids}
    markers |= {index: text for text, index in added.items() if isinstance(index, int)}
    table = said.get("added_tokens_decoder")
    for key, token in table.items() if isinstance(table, Mapping) else ():
        text = _text(token)
        if text and str(key).isdigit():
            markers[int(key)] = text
    beyond = sorted(index for index in markers if index >= len(found.pieces))
    if beyond and beyond != list(range(len(found.pieces), len(found.pieces) + len(beyond))):
        raise UserError(
            f"the tokenizer has an added token of the id {beyond[-1]}, and only {len(found.pieces)} pieces; its files do not fit"
        )
    return markers


def _begin(made: Any, bos: str) -> None:
    from tokenizers import processors

    made.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, made.token_to_id(bos))]
    )
