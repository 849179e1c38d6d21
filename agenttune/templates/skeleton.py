"""What a chat template writes for conversations of one shape: literal text, and slots where the contents stand.

It is learned by rendering messages whose texts are placeholders, so no content is ever found by searching. A slot holds a quotation
mark, which shows whether the template writes a content as it is or as a JSON string (Llama 3.1 does that to a tool's answer).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agenttune.errors import Refusal
from agenttune.templates.base import Piece, PieceKind
from agenttune.templates.messages import Form

_END = "\ue0f1"
_SLOT = re.compile(f'\ue0f0([0-9]+)(\\\\?)"{_END}')

Found = TypeVar("Found")
Write = Callable[[Sequence[Mapping[str, str]], bool], str]  # messages, generate → the template's text; ValueError where it refuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A message's shape: everything but its texts."""

    role: str
    kind: PieceKind
    turn: int
    form: Form


Shape = tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSegment:
    """A piece with slots: `parts` are literal text, or (number of the text, whether it stands as JSON)."""

    kind: PieceKind
    turn: int
    parts: tuple[str | tuple[int, bool], ...]
    as_said: bool = True

    def filled(self, texts: Sequence[str]) -> Piece:
        """The piece with its texts."""
        text = "".join(one if isinstance(one, str) else _written(texts[one[0]], one[1]) for one in self.parts)
        return Piece(text=text, kind=self.kind, turn=self.turn, as_said=self.as_said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """What a shape is written as. `said` are the turns whose output stands behind its own prompt as the model said it; `dropped`
    counts the outputs whose reasoning is left out."""

    segments: tuple[TemplateSegment, ...]
    said: frozenset[int]
    dropped: int


def _written(text: str, as_json: bool) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1] if as_json else text


class Learner:
    """Learns skeletons through `write`, and remembers them by shape; one a template."""

    def __init__(self, write: Write, special: Sequence[str], stop: str) -> None:
        self.write = write
        self.stop = stop
        self._special = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)")
        self._texts: dict[tuple[Shape, bool], str | Refusal] = {}
        self._skeletons: dict[tuple[Shape, bool], Skeleton | Refusal] = {}

    def skeleton(self, shape: Shape, generate: bool) -> Skeleton:
        """The skeleton of a shape. Raises `Refusal` where the template refuses it, or leaves out, repeats or moves a content."""
        key = (shape, generate)
        if key not in self._skeletons:
            try:
                self._skeletons[key] = self._learned(shape, generate)
            except Refusal as refusal:
                self._skeletons[key] = refusal
        return _or_raise(self._skeletons[key])

    def slotted(self, shape: Shape, generate: bool) -> str:
        """The template's text for a shape, slots in the places of texts. Raises `Refusal` (``template_refuses``)."""
        key = (shape, generate)
        if key not in self._texts:
            try:
                self._texts[key] = self.write(_placeholders(shape), generate)
            except ValueError as error:
                self._texts[key] = Refusal("template_refuses", str(error))
        return _or_raise(self._texts[key])

    def _learned(self, shape: Shape, generate: bool) -> Skeleton:
        text = self.slotted(shape, generate)
        dropped = _check(shape, [int(found.group(1)) for found in _SLOT.finditer(text)])
        places = {int(found.group(1)): found.span() for found in _SLOT.finditer(text)}
        cutter = _Cutter(text)
        said: set[int] = set()
        number = 0
        for index, row in enumerate(shape):
            slots = [one for one in range(number, number + row.form.count(None)) if one in places]
            number += row.form.count(None)
            if not slots:
                continue  # white space alone is no content
            start, end = places[slots[0]][0], places[slots[-1]][1]
            if row.kind != "output":
                cutter.content(row, *_with_literals(text, row.form, start, end))
                continue
            final = index == len(shape) - 1 and not generate
            prompt = self.slotted(shape[:index], True)
            whole = text if final else self.slotted(shape[: index + 1], False)
            stop = whole.find(self.stop, whole.rfind(_END) + 1)
            if whole.startswith(prompt) and stop >= 0 and text.startswith(whole[: stop + len(self.stop)]):
                said.add(row.turn)
                cutter.said(row, len(prompt), len(prompt) + self._lead(text[len(prompt) : start]), stop, self.stop)
            elif final:
                raise _conflict(whole, prompt, self.stop)
            else:
                cutter.rewritten(row, *_with_literals(text, row.form, start, end), self.stop)
        if generate or not shape or shape[-1].kind != "output":
            cutter.header(len(text), shape[-1].turn if shape else 0)
        return Skeleton(segments=tuple(cutter.found), said=frozenset(said), dropped=dropped)

    def _lead(self, before: str) -> int:
        """Where in the text before an output its last special token ends; 0 for none."""
        return max((found.end() for found in self._special.finditer(before)), default=0)


class _Cutter:
    """Cuts a slotted text into segments, from left to right; short-lived."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: list[TemplateSegment] = []

    def _add(self, kind: PieceKind, turn: int, end: int, as_said: bool = True) -> None:
        """What stands up to `end` as one segment."""
        if end > self.at:
            self.found.append(TemplateSegment(kind=kind, turn=turn, parts=_parts(self.text[self.at : end]), as_said=as_said))
            self.at = end

    def header(self, end: int, turn: int) -> None:
        self._add("header", turn, end)

    def content(self, row: Row, start: int, end: int) -> None:
        self.header(start, row.turn)
        self._add(row.kind, row.turn, end)

    def said(self, row: Row, prompt: int, lead: int, stop: int, marker: str) -> None:
        """An output as the model said it: all between its prompt and its stop."""
        self.header(prompt, row.turn)
        self._add("lead", row.turn, lead)
        self._add("output", row.turn, stop)
        self._add("stop", row.turn, stop + len(marker))

    def rewritten(self, row: Row, start: int, end: int, marker: str) -> None:
        """An earlier output that stands otherwise than it was said."""
        self.header(start, row.turn)
        self._add("output", row.turn, end, as_said=False)
        if self.text.startswith(marker, end):
            self._add("stop", row.turn, end + len(marker))


def _parts(text: str) -> tuple[str | tuple[int, bool], ...]:
    found: list[str | tuple[int, bool]] = []
    at = 0
    for slot in _SLOT.finditer(text):
        if slot.start() > at:
            found.append(text[at : slot.start()])
        found.append((int(slot.group(1)), bool(slot.group(2))))
        at = slot.end()
    return (*found, text[at:]) if at < len(text) else tuple(found)


def _placeholders(shape: Shape) -> list[dict[str, str]]:
    number = 0
    rows = []
    for row in shape:
        content = ""
        for literal in row.form:
            content += f'\ue0f0{number}"{_END}' if literal is None else literal
            number += literal is None
        rows.append({"role": row.role, "content": content})
    return rows


def _with_literals(text: str, form: Form, start: int, end: int) -> tuple[int, int]:
    """A content's place with the literals at its ends, where the template keeps them."""
    first, last = form[0] or "", form[-1] or ""
    start -= len(first) if text[:start].endswith(first) else 0
    end += len(last) if text.startswith(last, end) else 0
    return start, end


def _check(shape: Shape, order: Sequence[int]) -> int:
    """Every text once and in order, or a `Refusal`. Templates may drop earlier reasoning: returns of how many outputs."""
    if any(later <= earlier for earlier, later in itertools.pairwise(order)):
        raise Refusal("content_moved", "the template writes a content of this conversation twice, or before one that comes earlier")
    there = set(order)
    dropped = number = 0
    for index, row in enumerate(shape):
        for position, literal in enumerate(row.form):
            if literal is not None:
                continue
            if number not in there:
                if row.kind != "output" or index == len(shape) - 1 or "<think>" not in (row.form[position - 1] or ""):
                    raise Refusal("content_dropped", f"the template leaves out what the {row.role} says in turn {row.turn + 1}")
                dropped += 1
            number += 1
    return dropped


def _conflict(whole: str, prompt: str, stop: str) -> Refusal:
    if whole.startswith(prompt):
        return Refusal("no_stop", f"the template does not end this output with {stop}")
    return Refusal("prompt_conflict", "the template writes this output behind another text than the prompt that asks for it")


def _or_raise(found: Found | Refusal) -> Found:
    if isinstance(found, Refusal):
        raise Refusal(found.code, found.sentence, found.excerpt)
    return found
