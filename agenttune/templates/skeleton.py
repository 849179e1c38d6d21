"""What a chat template writes for conversations of one shape: literal text, and slots where the contents stand.

It is learned by rendering messages whose texts are placeholders, so no content is ever found by searching. A slot holds a quotation
mark, which shows whether the template writes a content as it is or as a JSON string (Llama 3.1 does that to a tool's answer).

In a native conversation, whose messages have calls, the template writes an output whole: all that it writes behind the prompt, up to the
last special token, is the output, and the special tokens among its literals are markers that the model must emit.
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
from agenttune.templates.messages import Form, Row, Shape, with_texts
from agenttune.values.trajectory import Json

_END = "\ue0f1"
_SLOT = re.compile(f'\ue0f0([0-9]+)(\\\\{{0,3}})"{_END}')
_DEPTHS = {0: 0, 1: 1, 3: 2}  # backslashes before the quotation mark: how often the text was written as a JSON string

Found = TypeVar("Found")
Write = Callable[[Sequence[Mapping[str, Json]], bool], str]  # messages, generate → the template's text; ValueError where it refuses


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSegment:
    """A piece with slots: `parts` are literal text, or (number of the text, how often it is written as JSON). `special` are the
    characters of literal parts that are markers, by part.
    """

    kind: PieceKind
    turn: int
    parts: tuple[str | tuple[int, int], ...]
    as_said: bool = True
    special: tuple[tuple[int, int, int], ...] = ()

    def filled(self, texts: Sequence[str]) -> Piece:
        """The piece with its texts."""
        if not self.special:
            text = "".join([one if isinstance(one, str) else _written(texts[one[0]], one[1]) for one in self.parts])
            return Piece(text=text, kind=self.kind, turn=self.turn, as_said=self.as_said)
        parts = [one if isinstance(one, str) else _written(texts[one[0]], one[1]) for one in self.parts]
        starts = [0, *itertools.accumulate(map(len, parts))]
        markers = tuple((starts[part] + start, starts[part] + end) for part, start, end in self.special)
        return Piece(text="".join(parts), kind=self.kind, turn=self.turn, as_said=self.as_said, markers=markers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """What a shape is written as. `said` are the turns whose output stands behind its own prompt as the model said it; `dropped`
    counts the outputs whose reasoning is left out.

    Where the template writes earlier turns otherwise once the last output is there (gpt-oss leaves out what was thought before a call),
    the first `asked` segments are the prompt as the model was given it, and only the output behind them, with `rest` after it, is what
    the whole ends in.
    """

    segments: tuple[TemplateSegment, ...]
    said: frozenset[int]
    dropped: int
    asked: int = 0
    rest: str = ""


def _written(text: str, depth: int) -> str:
    for _ in range(depth):
        text = json.dumps(text, ensure_ascii=False)[1:-1]
    return text


class Learner:
    """Learns skeletons through `write`, and remembers them by shape; one a template, or a native one's list of tools.

    An output ends in the first of `stops`; a native one in any of them.
    """

    def __init__(self, write: Write, special: Sequence[str], stops: Sequence[str], *, native: bool = False) -> None:
        self.write = write
        self.stops = tuple(stops)
        self.special = tuple(special)
        self.native = native
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
        cutter = _Cutter(text, self._special if self.native else None)
        said: set[int] = set()
        number = 0
        for index, row in enumerate(shape):
            spans = sorted(places[one] for one in range(number, number + row.texts) if one in places)
            number += row.texts
            if row.kind != "output":
                if spans:  # white space alone is no content
                    cutter.content(row, *_with_literals(text, row.form, spans[0][0], spans[-1][1]))
                continue
            if not spans and not self.native:
                continue
            final = index == len(shape) - 1 and not generate
            prompt = self.slotted(shape[:index], True)
            whole = text if final else self.slotted(shape[: index + 1], False)
            stop, end = self._stop(whole, len(prompt))
            if whole.startswith(prompt) and stop >= 0 and text.startswith(whole[:end]):
                said.add(row.turn)
                lead = 0 if self.native else self._lead(text[len(prompt) : spans[0][0]])
                cutter.said(row, len(prompt), len(prompt) + lead, stop, end)
            elif final:
                return self._behind_prompt(shape, whole)
            elif spans:
                cutter.rewritten(row, *_with_literals(text, row.form, spans[0][0], spans[-1][1]), self.stops)
        if generate or not shape or shape[-1].kind != "output":
            cutter.header(len(text), shape[-1].turn if shape else 0)
        return Skeleton(segments=tuple(cutter.found), said=frozenset(said), dropped=dropped)

    def _behind_prompt(self, shape: Shape, whole: str) -> Skeleton:
        """The last output behind the prompt that asks for it, where the whole writes the earlier turns otherwise. Raises `Refusal`."""
        asked, prompt, row = self.skeleton(shape[:-1], True), self.slotted(shape[:-1], True), shape[-1]
        start = _asked_in(whole, prompt)
        stop, end = self._stop(whole, max(start, 0))
        if whole.startswith(prompt) or start < 0 or stop < start:
            raise _conflict(whole, prompt, self.stops[0])
        first = _SLOT.search(whole, start, stop)
        if first is None and not self.native:
            raise _conflict(whole, prompt, self.stops[0])
        lead = 0 if first is None or self.native else self._lead(whole[start : first.start()])
        cutter = _Cutter(whole, self._special if self.native else None, start)
        cutter.said(row, start, start + lead, stop, end)
        return Skeleton(
            segments=(*asked.segments, *cutter.found),
            said=asked.said | {row.turn},
            dropped=asked.dropped,
            asked=len(asked.segments),
            rest=whole[end:],
        )

    def _stop(self, whole: str, prompt: int) -> tuple[int, int]:
        """Where the last output's stop begins and ends; -1 twice for none."""
        if self.native:
            found = [one.span() for one in self._special.finditer(whole, max(prompt, whole.rfind(_END) + 1))]
            return found[-1] if found and whole[slice(*found[-1])] in self.stops else (-1, -1)
        at = whole.find(self.stops[0], whole.rfind(_END) + 1)
        return at, at + len(self.stops[0]) if at >= 0 else -1

    def _lead(self, before: str) -> int:
        """Where in the text before an output its last special token ends; 0 for none."""
        return max((found.end() for found in self._special.finditer(before)), default=0)


class _Cutter:
    """Cuts a slotted text into segments, from left to right; short-lived. `special` finds the markers inside outputs."""

    def __init__(self, text: str, special: re.Pattern[str] | None, at: int = 0) -> None:
        self.text = text
        self.special = special
        self.at = at
        self.found: list[TemplateSegment] = []

    def _add(self, kind: PieceKind, turn: int, end: int, as_said: bool = True) -> None:
        """What stands up to `end` as one segment."""
        if end > self.at:
            parts = _parts(self.text[self.at : end])
            special = _markers(parts, self.special) if kind == "output" and self.special else ()
            self.found.append(TemplateSegment(kind=kind, turn=turn, parts=parts, as_said=as_said, special=special))
            self.at = end

    def header(self, end: int, turn: int) -> None:
        self._add("header", turn, end)

    def content(self, row: Row, start: int, end: int) -> None:
        self.header(start, row.turn)
        self._add(row.kind, row.turn, end)

    def said(self, row: Row, prompt: int, lead: int, stop: int, end: int) -> None:
        """An output as the model said it: all between its prompt and its stop."""
        self.header(prompt, row.turn)
        self._add("lead", row.turn, lead)
        self._add("output", row.turn, stop)
        self._add("stop", row.turn, end)

    def rewritten(self, row: Row, start: int, end: int, stops: Sequence[str]) -> None:
        """An earlier output that stands otherwise than it was said."""
        self.header(start, row.turn)
        self._add("output", row.turn, end, as_said=False)
        stop = next((one for one in stops if self.text.startswith(one, end)), "")
        self._add("stop", row.turn, end + len(stop))


def _markers(parts: Sequence[str | tuple[int, int]], special: re.Pattern[str]) -> tuple[tuple[int, int, int], ...]:
    literals = ((index, part) for index, part in enumerate(parts) if isinstance(part, str))
    return tuple((index, *found.span()) for index, part in literals for found in special.finditer(part))


def _parts(text: str) -> tuple[str | tuple[int, int], ...]:
    found: list[str | tuple[int, int]] = []
    at = 0
    for slot in _SLOT.finditer(text):
        if slot.start() > at:
            found.append(text[at : slot.start()])
        found.append((int(slot.group(1)), _DEPTHS.get(len(slot.group(2)), 0)))
        at = slot.end()
    return (*found, text[at:]) if at < len(text) else tuple(found)


def _placeholders(shape: Shape) -> list[dict[str, Json]]:
    number = itertools.count()
    return [with_texts(row, [f'\ue0f0{next(number)}"{_END}' for _ in range(row.texts)]) for row in shape]


def _with_literals(text: str, form: Form, start: int, end: int) -> tuple[int, int]:
    """A content's place with the literals at its ends, where the template keeps them."""
    first, last = (form[0] or "", form[-1] or "") if form else ("", "")
    start -= len(first) if text[:start].endswith(first) else 0
    end += len(last) if text.startswith(last, end) else 0
    return start, end


def _check(shape: Shape, order: Sequence[int]) -> int:
    """Every text once and in order, or a `Refusal`; a template may write the texts of one call in any order. Templates may drop earlier
    reasoning: returns of how many outputs."""
    rows = [index for index, row in enumerate(shape) for _ in range(row.texts)]
    for earlier, later in itertools.pairwise(order):
        if rows[later] < rows[earlier] or (rows[later] == rows[earlier] and later < earlier and not shape[rows[later]].fields):
            raise _moved()
    there = set(order)
    if len(there) < len(order):
        raise _moved()
    dropped = number = 0
    for index, row in enumerate(shape):
        for position in range(row.texts):
            if number not in there:
                reasoning = row.kind == "output" and _is_reasoning(row, position)
                if index == len(shape) - 1 or not reasoning:
                    what = "the reasoning of the output" if reasoning else f"what the {row.role} says"
                    raise Refusal("content_dropped", f"the template leaves out {what} in turn {row.turn + 1}")
                dropped += 1
            number += 1
    return dropped


def _moved() -> Refusal:
    return Refusal("content_moved", "the template writes a content of this conversation twice, or before one that comes earlier")


def _is_reasoning(row: Row, position: int) -> bool:
    """Whether this text of an output is its reasoning: behind its tag in a content, or first of the fields."""
    own = [index for index, literal in enumerate(row.form) if literal is None]
    if position < len(own):
        at = own[position]
        return at > 0 and "<think>" in (row.form[at - 1] or "")
    return position == len(own) and row.fields.startswith('{"reasoning"')


def _asked_in(whole: str, prompt: str) -> int:
    """Where in `whole` the text ends that closes `prompt`, behind the last slot that both hold; -1 where it is not there."""
    last = next(reversed(list(_SLOT.finditer(prompt))), None)
    at = whole.find(last.group()) if last is not None else -1
    if last is None or at < 0:
        return -1
    closing, begin = prompt[last.end() :], at + len(last.group())
    return begin + len(closing) if whole.startswith(closing, begin) else -1


def _conflict(whole: str, prompt: str, stop: str) -> Refusal:
    if whole.startswith(prompt):
        return Refusal("no_stop", f"the template does not end this output with {stop}")
    return Refusal("prompt_conflict", "the template writes this output behind another text than the prompt that asks for it")


def _or_raise(found: Found | Refusal) -> Found:
    if isinstance(found, Refusal):
        raise Refusal(found.code, found.sentence, found.excerpt)
    return found
