"""A sentencepiece BPE model (``tokenizer.model``) as a tokenizer of the tokenizers library, with the same ids.

The file is a protocol buffer, `sentencepiece_model.proto` (github.com/google/sentencepiece, Apache-2.0); the few fields that
matter are read here, so that no code of a checkpoint and no protobuf library is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttune.errors import UserError

NORMAL, UNKNOWN, CONTROL, USER = 1, 2, 3, 4  # SentencePiece.Type
_BPE = 2  # TrainerSpec.ModelType
_SPACE = "▁"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceModel:
    """What a sentencepiece model says: ``(piece, score, type)`` by id, and how it treats spaces."""

    pieces: tuple[tuple[str, float, int], ...]
    dummy_prefix: bool = True
    squeeze: bool = True


def read_sentencepiece(data: bytes, where: str) -> SentencePieceModel:
    """The pieces of a serialised sentencepiece model. Raises `UserError` for what is none, is no BPE, or rewrites characters."""
    try:
        fields = list(_fields(data))
        pieces = tuple(_piece(value) for number, value in fields if number == 1 and isinstance(value, bytes))
        kind, spaces = (_table(fields, number) for number in (2, 3))
    except (IndexError, struct.error, ValueError) as error:
        raise UserError(f"{where} is not a sentencepiece model") from error
    if not pieces or kind.get(3, 1) != _BPE:
        raise UserError(f"{where} is not a sentencepiece model of the kind BPE")
    if spaces.get(2):
        raise UserError(f"{where} rewrites characters before it splits them, which is not done here; give a tokenizer.json beside it")
    return SentencePieceModel(pieces=pieces, dummy_prefix=bool(spaces.get(3, 1)), squeeze=bool(spaces.get(4, 1)))


def _table(fields: Sequence[tuple[int, int | bytes]], number: int) -> dict[int, int | bytes]:
    """The fields of a message inside a message (the last value of each), empty where it is absent."""
    inner = next((value for one, value in fields if one == number), b"")
    return dict(_fields(inner)) if isinstance(inner, bytes) else {}


def _piece(data: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(data))
    text, score, kind = fields.get(1, b""), fields.get(2, b"\0\0\0\0"), fields.get(3, NORMAL)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or not isinstance(kind, int):
        raise ValueError("a piece")
    return text.decode("utf-8"), struct.unpack("<f", score)[0], kind


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protocol buffer message: an int for a varint, else the bytes (protobuf.dev, "Encoding")."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(key & 7)
        if size is None:
            if key & 7 != 2:
                raise ValueError("a wire type")
            size, at = _varint(data, at)
        if at + size > len(data):
            raise ValueError("cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fast_tokenizer(found: SentencePieceModel, markers: Mapping[int, str]) -> Any:
    """A `tokenizers.Tokenizer` with the model's ids; `markers` are special tokens by id, which stand in for the pieces there.

    Merges are ranked by the score of what they make, as sentencepiece does; a character without a piece falls back to its bytes.
    Where the model has symbols of its own (type USER), spaces are put before a text; else before every part between markers,
    which is what transformers' tokenizers for such models do.
    """
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import BPE
    from transformers.convert_slow_tokenizer import generate_merges

    words = {markers.get(index, piece): index for index, (piece, _, _) in enumerate(found.pieces)}
    mergeable = [(piece, score) for index, (piece, score, kind) in enumerate(found.pieces) if kind == NORMAL and index not in markers]
    merges = generate_merges({piece: words[piece] for piece, _ in mergeable}, mergeable)
    unknown = next((piece for piece, _, kind in found.pieces if kind == UNKNOWN), None)
    made = Tokenizer(BPE(words, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    made.add_special_tokens([AddedToken(text, normalized=False, special=True) for _, text in sorted(markers.items())])
    symbols = [piece for index, (piece, _, kind) in enumerate(found.pieces) if kind == USER and index not in markers]
    made.add_tokens([AddedToken(text, normalized=False, special=False) for text in symbols])
    _spaces(made, found, first=any(kind == USER for _, _, kind in found.pieces))
    return made


def _spaces(made: Any, found: SentencePieceModel, *, first: bool) -> None:
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    edges: list[Any] = [normalizers.Replace(Regex(one), to) for one, to in (("^ +| +$", ""), (" {2,}", " "))]
    steps = edges if found.squeeze else []
    if found.dummy_prefix and first:
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="first", split=False)
    elif found.dummy_prefix:
        steps.append(normalizers.Prepend(_SPACE))
    made.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _SPACE)])
    parts: list[Any] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)] if found.dummy_prefix else parts)
