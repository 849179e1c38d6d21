"""A sentencepiece model gives the same ids as the sentencepiece library, in every kind of text."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import pytest

from agenttune.errors import UserError
from agenttune.models.sentencepiece_model import CONTROL, UNKNOWN, USER, fast_tokenizer, read_sentencepiece

_spec = importlib.util.spec_from_file_location("internlm_checkpoints", Path(__file__).with_name("internlm_checkpoints.py"))
assert _spec and _spec.loader
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

TEXTS = [
    "hello Berlin",
    "今天天气 🙂 很好",
    "a\n\nb\tc",
    "",
    'weather{"city": 12345, "days": [0, 17]}',
    "Thought: I need\nAction: x",
    "éß\x07\u200b",
    "x<eoh>\n<|Bot|>: y<eoa>",
    "two  spaces   inside",
]


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("symbols", [(), ("<eoh>", "<eoa>")])
@pytest.mark.parametrize("prefix", [False, True])
def test_ids_and_text_are_those_of_sentencepiece(prefix: bool, symbols: tuple[str, ...], squeeze: bool) -> None:
    import sentencepiece as spm

    data = made.sentencepiece(dummy_prefix=prefix, symbols=symbols, squeeze=squeeze)
    library = spm.SentencePieceProcessor(model_proto=data)
    found = read_sentencepiece(data, "tokenizer.model")
    assert [piece for piece, _, _ in found.pieces] == [library.id_to_piece(index) for index in range(library.get_piece_size())]
    assert [kind == USER for piece, _, kind in found.pieces] == [piece in symbols for piece, _, _ in found.pieces]
    assert (found.dummy_prefix, found.squeeze) == (prefix, squeeze)
    ours = fast_tokenizer(found, {index: piece for index, (piece, _, kind) in enumerate(found.pieces) if kind in (CONTROL, UNKNOWN)})
    several = 0
    for text in TEXTS if symbols else [*TEXTS, "  first  spaces "]:
        wanted = library.encode(text)
        assert ours.encode(text).ids == wanted, text
        several += len(wanted) > 3
        if not squeeze:
            assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text
    assert several >= 6


def test_a_marker_stands_in_for_an_unused_piece() -> None:
    found = read_sentencepiece(made.sentencepiece(), "tokenizer.model")
    ours = fast_tokenizer(found, {0: "<unk>", 1: "<s>", 2: "</s>", 379: "<|im_start|>"})
    assert ours.encode("a<|im_start|>").ids[-1] == 379
    assert ours.get_vocab_size() == len(found.pieces) == 380


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x0a\xff\xff\xff\x7f", b"\x0b\x0c", b"\x0a\x03\x0a\x01\xff", b"\x80"])
def test_what_is_no_sentencepiece_model_is_said(data: bytes) -> None:
    with pytest.raises(UserError, match="x is not a sentencepiece model"):
        read_sentencepiece(data, "x")


def test_another_algorithm_and_rewritten_characters_are_refused() -> None:
    import sentencepiece as spm

    for kind, pieces, said in (("unigram", 70, "not a sentencepiece model of the kind BPE"), ("bpe", 120, "rewrites characters")):
        written = io.BytesIO()
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(made.TEXT), model_writer=written, vocab_size=pieces, model_type=kind, minloglevel=2
        )
        with pytest.raises(UserError, match=said):
            read_sentencepiece(written.getvalue(), "x")
