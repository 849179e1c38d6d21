"""A sample as token ids with weights. The only place where text of a conversation becomes ids.

Each piece of a template is encoded by itself: headers with their special tokens, contents as plain text. So the ids of a
prompt do not depend on what follows, the untrained prefix of an example is the prompt that is served, and content can
never yield a special id.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from agenttune import protocols
from agenttune.data.native import writer_of
from agenttune.errors import Refusal
from agenttune.protocols.base import Protocol
from agenttune.templates import Coverage, Piece, Template, TurnWriter
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import Rendered, Tokenizer


class _Sink:
    """Collects ids, weights and kinds; short-lived, one a rendering."""

    def __init__(self, template: TurnWriter, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        start = tokenizer.bos_id if template.adds_bos else None
        self.ids: list[int] = [] if start is None else [start]
        self.weights: list[float] = [0.0] * len(self.ids)
        self.kinds: list[str] = ["header"] * len(self.ids)

    def add(self, ids: Sequence[int], weights: Sequence[float], kinds: Sequence[str]) -> None:
        self.ids += ids
        self.weights += weights
        self.kinds += kinds

    def piece(self, piece: Piece, weight: float = 0.0) -> None:
        """A piece as one span of one kind; markers are read where the template wrote them, and never in a content."""
        ids = ids_of(piece, self.tokenizer)
        self.add(ids, [weight] * len(ids), [piece.kind] * len(ids))


MARKERS = ("header", "lead", "stop")  # kinds of pieces that hold a template's special tokens


def ids_of(piece: Piece, tokenizer: Tokenizer) -> list[int]:
    """The ids of a piece: its special tokens where the template wrote them, plain text everywhere else."""
    if not piece.markers:
        return tokenizer.encode(piece.text, special=piece.kind in MARKERS)
    return [one for start, end, marker in stretches(piece) for one in tokenizer.encode(piece.text[start:end], special=marker)]


def stretches(piece: Piece) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether it is a special token) of the stretches of a piece's text that are encoded each by itself.

    A tokenizer cuts its text at special tokens before anything else, so the ids are those of the whole.
    """
    at = 0
    for start, end in piece.markers:
        if at < start:
            yield at, start, False
        yield start, end, True
        at = end
    if at < len(piece.text):
        yield at, len(piece.text), False


def render(
    sample: Sample,
    template: Template,
    tokenizer: Tokenizer,
    *,
    kind_weights: Mapping[str, float] | None = None,
    refused: list[Refusal] | None = None,
) -> tuple[Rendered, ...]:
    """All that a sample trains, in as few renderings as the template allows: one where nothing is rewritten by what follows.

    `kind_weights` multiplies the weight of trained tokens by kind (``thought``, ``action``, ``arguments``, ``answer``, ``stop``).
    Returns an empty tuple where no turn has an output. A conversation that the template cannot carry as it is raises `Refusal`
    (``content_dropped``, ``content_moved``, ``prompt_conflict``, …). With `refused`, which collects the reasons, its first turns are
    rendered as far as they can be carried.
    """
    protocol = protocols.get(sample.protocol)
    group = str(sample.meta.get("group") or "")
    found = []
    try:
        writer = writer_of(sample, template)
    except Refusal as refusal:
        if refused is None:
            raise
        refused.append(refusal)
        return ()
    for one in _coverage(sample.turns, writer, refused):
        seen = [turn if index in one.trained else replace(turn, weight=0.0) for index, turn in enumerate(sample.turns[: one.turns])]
        found.append(_rendered(seen, writer, tokenizer, protocol, kind_weights or {}, sample.id, group))
    return tuple(found)


def _coverage(turns: Sequence[Turn], template: TurnWriter, refused: list[Refusal] | None) -> tuple[Coverage, ...]:
    """The renderings of the longest part that the template carries; all, where no refusals are collected."""
    while turns:
        try:
            found = template.coverage(turns)
            if refused is not None:
                for one in found:
                    template.pieces(turns[: one.turns])
            return found
        except Refusal as refusal:
            if refused is None:
                raise
            refused.append(refusal)
            turns = turns[: max((index for index, turn in enumerate(turns[:-1]) if turn.output), default=-1) + 1]
    return ()


def _rendered(
    turns: Sequence[Turn],
    template: TurnWriter,
    tokenizer: Tokenizer,
    protocol: Protocol,
    kind_weights: Mapping[str, float],
    name: str,
    group: str,
) -> Rendered:
    sink = _Sink(template, tokenizer)
    prompt_ends: list[int] = []
    turn_ends: list[int] = []
    led = False
    for piece in template.pieces(turns):
        weight = turns[piece.turn].weight
        if piece.kind in ("lead", "output") and not led:
            prompt_ends.append(len(sink.ids))
        led = piece.kind == "lead"
        if piece.kind == "output":
            _output(sink, piece, protocol, weight, kind_weights)
        elif piece.kind == "lead":
            sink.piece(piece, weight)
        elif piece.kind == "stop":
            sink.piece(piece, weight * kind_weights.get("stop", 1.0))
            turn_ends.append(len(sink.ids))
        else:
            sink.piece(piece)
    return Rendered(
        token_ids=tuple(sink.ids),
        weights=tuple(sink.weights),
        kinds=tuple(sink.kinds),
        prompt_ends=tuple(prompt_ends),
        turn_ends=tuple(turn_ends),
        id=name,
        group=group,
        dropped=template.dropped(turns),
    )


def _output(sink: _Sink, piece: Piece, protocol: Protocol, weight: float, kind_weights: Mapping[str, float]) -> None:
    """The output as one span of ids; each takes the kind of its first character."""
    ids, starts = _located(piece, sink.tokenizer)
    assert len(starts) == len(ids)
    spans = protocol.spans(piece.text)
    ends = [bisect_left(starts, span.end) for span in spans[:-1]] + [len(ids)]
    before = 0
    for end, kind in zip(ends, [span.kind for span in spans] or ["answer"], strict=True):
        count = max(0, end - before)
        sink.add(ids[before : before + count], [weight * kind_weights.get(kind, 1.0)] * count, [kind] * count)
        before += count


def _located(piece: Piece, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids of an output, and the character at which each begins."""
    if not piece.markers:
        return tokenizer.encode(piece.text, special=False), [start for start, _ in tokenizer.offsets(piece.text)]
    ids: list[int] = []
    starts: list[int] = []
    for start, end, marker in stretches(piece):
        text = piece.text[start:end]
        found = tokenizer.encode(text, special=marker)
        ids += found
        starts += [start] * len(found) if marker else [start + one for one, _ in tokenizer.offsets(text)]
    return ids, starts


def prompt_ids(
    sample: Sample, template: Template, tokenizer: Tokenizer, *, outputs: Mapping[int, Sequence[int]] | None = None
) -> list[int]:
    """The ids a model is given at the last turn of `sample`, whose output is empty.

    `outputs` maps a turn's index to the ids the model itself made there; they are used in place of an encoding of the text, except
    where the template does not show that output as it was said.
    """
    assert not sample.turns[-1].output
    writer = writer_of(sample, template)
    sink = _Sink(writer, tokenizer)
    for piece in writer.pieces(sample.turns):
        given = (outputs or {}).get(piece.turn) if piece.kind in ("lead", "output") and piece.as_said else None
        if given is None:
            sink.piece(piece)
        elif piece.kind == "output":  # its ids begin with those of its lead
            sink.add(given, [0.0] * len(given), ["answer"] * len(given))
    return sink.ids


def text(sample: Sample, template: Template) -> str:
    """The conversation's text, as `render` reads it: what a person is shown, and what equals the tokenizer's own template."""
    return "".join(piece.text for piece in writer_of(sample, template).pieces(sample.turns))


def seams(sample: Sample, template: Template, tokenizer: Tokenizer) -> tuple[int, int]:
    """(boundaries between pieces that a joint encoding would cross, boundaries): how far per-piece ids differ from whole-string ids."""
    pieces = writer_of(sample, template).pieces(sample.turns)
    crossed = 0
    for left, right in itertools.pairwise(pieces):
        apart = [*tokenizer.encode(left.text, special=True), *tokenizer.encode(right.text, special=True)]
        crossed += tokenizer.encode(left.text + right.text, special=True) != apart
    return crossed, max(0, len(pieces) - 1)
