"""A tokenizer's chat template as it writes native conversations: with tools, calls and results, under one list of tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agenttune.errors import Refusal, UserError
from agenttune.templates.base import Coverage, Piece
from agenttune.templates.exact import ExactWriter
from agenttune.templates.jinja import JinjaTemplate
from agenttune.templates.messages import Roles, TemplateMessage, shape_of
from agenttune.templates.native import STYLES, CallReader, MessageStyle, native_messages, tools_of
from agenttune.templates.skeleton import Learner, Write
from agenttune.values.sample import Turn
from agenttune.values.trajectory import Json, Step, ToolCall, ToolSpec

_TOOL = ToolSpec(name="look", description="D", parameters={"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})
_CALL = Step(calls=(ToolCall(name="look", arguments={"at": "X", "n": 3}, id="call00001"),))
_ANSWER = Step(answer="A")
_WRITERS = 64  # lists of tools whose writers are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeWriter:
    """How native turns under one list of tools are written. `leads` are what may stand before an output that is no part of it."""

    reader: CallReader
    roles: Roles
    leads: frozenset[str]
    writer: ExactWriter
    adds_bos: bool = False
    _recent: dict[tuple[Turn, ...], list[Piece]] = field(default_factory=dict)

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """See `TurnWriter.pieces`. An output that the template writes in other words is not `as_said`."""
        key = tuple(turns)
        if key not in self._recent:
            if len(self._recent) >= _WRITERS:
                self._recent.clear()
            messages = self._messages(turns)
            written = self.writer.pieces(messages, not turns[-1].output)
            self._recent[key] = list(self._said(written, {one.turn: one.said for one in messages if one.said}))
        return self._recent[key]

    def coverage(self, turns: Sequence[Turn]) -> tuple[Coverage, ...]:
        """See `TurnWriter.coverage`. Raises `Refusal` (``not_reproduced``) for an output to be trained that the template words otherwise;
        one of weight 0 is context in the template's words."""
        left = [index for index, turn in enumerate(turns) if turn.output]
        found: list[Coverage] = []
        while left:
            end = left[-1] + 1
            said = {piece.turn for piece in self.pieces(turns[:end]) if piece.kind == "output" and piece.as_said}
            if end - 1 not in said:
                if turns[end - 1].weight:
                    raise Refusal("not_reproduced", f"the template writes the output of turn {end} in other words", turns[end - 1].output)
                left.pop()
                continue
            found.insert(0, Coverage(turns=end, trained=frozenset(said.intersection(left))))
            left = [index for index in left if index not in said]
        return tuple(found)

    def dropped(self, turns: Sequence[Turn]) -> int:
        """See `TurnWriter.dropped`."""
        return self.writer.skeleton(self._messages(turns), not turns[-1].output).dropped

    def _messages(self, turns: Sequence[Turn]) -> list[TemplateMessage]:
        found = native_messages(turns, self.roles, self.reader)
        special = self.writer.learner.special
        for row in shape_of(found):
            _refuse_markers([row.fields], special, "a call names a tool or an argument")
        return found

    def _said(self, written: Iterable[Piece], said: Mapping[int, str]) -> Iterable[Piece]:
        """The pieces with each output told apart from its lead; one that is not what was said is marked so."""
        before = ""
        for piece in written:
            if piece.kind == "output" and piece.as_said:
                yield from self._output(piece, said.get(piece.turn, ""), before)
            else:
                yield piece
            before = piece.text

    def _output(self, piece: Piece, said: str, before: str) -> Iterable[Piece]:
        lead = piece.text[: len(piece.text) - len(said)]
        opened = said[: len(said) - len(piece.text)]  # reasoning that the prompt has begun
        if piece.text == said or (said.endswith(piece.text) and before.endswith(opened)):
            yield piece
        elif piece.text.endswith(said) and lead in self.leads:
            markers = tuple((start - len(lead), end - len(lead)) for start, end in piece.markers if start >= len(lead))
            yield Piece(text=lead, kind="lead", turn=piece.turn)
            yield replace(piece, text=said, markers=markers)
        else:
            yield replace(piece, as_said=False)


class NativeTemplate:
    """A template under one native protocol: writers by list of tools. Made once for a template and a family."""

    def __init__(self, template: JinjaTemplate, reader: CallReader, style: MessageStyle) -> None:
        self.template, self.reader, self.style = template, reader, style
        self.stops = _stops(template, style)
        self._writers: dict[str, NativeWriter] = {}
        self.leads = frozenset(("", template.lead))
        self.leads |= self._leads()

    def under(self, tools: Sequence[ToolSpec]) -> NativeWriter:
        """The writer of conversations with these tools. Raises `Refusal` for a tool that holds one of the template's markers."""
        key = repr(tools)
        if key not in self._writers:
            if len(self._writers) >= _WRITERS:
                self._writers.clear()
            self._writers[key] = self._made(tools)
        return self._writers[key]

    def _made(self, tools: Sequence[ToolSpec]) -> NativeWriter:
        special = self.template.writer.learner.special
        given = [] if self.reader.lists_tools else tools_of(tools)
        _refuse_markers(_texts(given), special, "a tool's description holds")
        learner = Learner(_write(self.template, self.style, given), special, self.stops, native=True)
        return NativeWriter(reader=self.reader, roles=self.template.roles, leads=self.leads, writer=ExactWriter(learner))

    def _leads(self) -> set[str]:
        """What the template writes before outputs after a question and after a result, with reasoning and without."""
        found = {""}
        for call in (_CALL, _ANSWER):
            for turns in (self._turns(call), self._turns(_CALL, call)):
                writer = self.under([_TOOL])
                try:
                    output = [piece.text for piece in writer.pieces(turns) if piece.kind == "output"][-1]
                except Refusal:
                    continue
                said = turns[-1].output
                found |= {output[: len(output) - len(said)]} if output.endswith(said) else set()
        self._writers.clear()
        return found

    def _turns(self, *steps: Step) -> list[Turn]:
        outputs = [self.reader.write_step(step) for step in steps]
        system = self.reader.system_text("", [_TOOL])
        return [Turn(system="O" if index else system, input="" if index else "Q", output=one) for index, one in enumerate(outputs)]

    def carries(self, *steps: Step) -> bool:
        """Whether the template writes these steps of one round as the family does."""
        try:
            turns = self._turns(*steps)
            said = {piece.turn for piece in self.under([_TOOL]).pieces(turns) if piece.kind == "output" and piece.as_said}
        except Refusal:
            return False
        return len(turns) - 1 in said


def native_template(template: JinjaTemplate, readers: Sequence[CallReader]) -> NativeTemplate | None:
    """The template under the first of the families whose words it writes for a call, in the style that it takes; None for no family.

    What decides is the text of a call, an answer behind it, and a call of reasoning: never a model's name.
    """
    tried: set[str] = set()
    for style in STYLES:
        text = _call_text(template, style)
        if text in tried or "X" not in text:
            continue
        tried.add(text)
        for reader in readers:
            if reader.write_step(_CALL).strip() not in text:
                continue
            made = NativeTemplate(template, reader, style)
            if made.carries(_CALL):
                return _with_reasoning(made)
    return None


def _with_reasoning(made: NativeTemplate) -> NativeTemplate:
    """The same with reasoning where the template shows it: in a field of its own, or inside the content."""
    reasoned = replace(_ANSWER, reasoning="R")
    other = replace(made.style, reasoning_in_content=True)
    if made.carries(reasoned):
        return made
    inside = NativeTemplate(made.template, made.reader, other)
    return inside if inside.carries(reasoned) else made


def _call_text(template: JinjaTemplate, style: MessageStyle) -> str:
    call = {"id": "call00001", "name": "look", "arguments": {"at": "X", "n": 3}}
    rows: list[dict[str, Json]] = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "", "calls": [call]}]
    try:
        prompt = _write(template, style, tools_of([_TOOL]))(rows[:1], True)
        text = _write(template, style, tools_of([_TOOL]))(rows, False)
    except ValueError:
        return ""
    return text[len(prompt) :] if text.startswith(prompt) else text[text.find("Q") + 1 :]


def _write(template: JinjaTemplate, style: MessageStyle, tools: Sequence[Mapping[str, Json]]) -> Write:
    options = {**template.options, **({"tools": list(tools)} if tools else {})}

    def write(messages: Sequence[Mapping[str, Json]], generate: bool) -> str:
        return template.tokenizer.apply_template([style.message(one) for one in messages], generate=generate, options=options)

    return write


def _stops(template: JinjaTemplate, style: MessageStyle) -> tuple[str, ...]:
    """The special tokens that end an answer, and a call."""
    last = _last_special(_call_text(template, style), template.writer.learner.special)
    return tuple(dict.fromkeys((template.stop, *template.stops, *([last] if last else []))))


def _last_special(text: str, special: Sequence[str]) -> str:
    pattern = "|".join(map(re.escape, sorted(special, key=len, reverse=True)))
    found = re.findall(pattern, text) if pattern else []
    return found[-1] if found else ""


def _texts(value: Json) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for name, one in value.items() for text in (str(name), *_texts(one))]
    return [text for one in value for text in _texts(one)] if isinstance(value, list | tuple) else []


def _refuse_markers(texts: Iterable[str], special: Sequence[str], what: str) -> None:
    for text in texts:
        marker = next((one for one in special if one in text), None) if text else None
        if marker is not None:
            raise Refusal("template_marker", f"{what} {marker}, a marker of the chat template", text)


def native_of(template: object, reader: CallReader) -> NativeTemplate:
    """The template under this family. Raises `UserError` where it is a named one, or writes calls in other words."""
    if not isinstance(template, JinjaTemplate):
        raise UserError(f"the protocol {reader.name} is written by the tokenizer's own chat template: say template=auto")
    if reader.name not in template.natives:
        template.natives[reader.name] = native_template(template, [reader])
    found = template.natives[reader.name]
    if found is None:
        raise UserError(
            f"the chat template of {template.tokenizer.name} does not write calls as {reader.name} does; convert for this model"
        )
    return found
