"""Calls that cannot be malformed: from a protocol's trigger on, only offered tools and arguments that fit their schemas.

Text before the trigger is free. The grammar is an llguidance one (github.com/guidance-ai/llguidance, MIT), with the separators that
training data has. A forced call, a forced answer and an answer by JSON Schema are the same mechanism, begun at the first token.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from agenttune.agent.draft import before_call, in_call
from agenttune.agent.schema_grammar import in_orders, normalised, without_overflow
from agenttune.errors import UserError, nearest
from agenttune.protocols.base import CallSyntax, Protocol
from agenttune.values.tokens import GrammarTokenizer, Tokenizer
from agenttune.values.trajectory import JsonObject, ToolCall, ToolSpec

if TYPE_CHECKING:
    import numpy as np
    from llguidance import LLMatcher, LLTokenizer
    from numpy.typing import NDArray

CHOICES = ("auto", "none", "required")
THOUGHT = 400  # characters of a thought before something that is forced
_JSON = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}  # as `protocols.arguments` writes


class CallGrammar:
    """What one prompt's output may hold: shared by every row that has this prompt's tools.

    `choice` is ``auto`` (a call is constrained from its trigger on), ``required`` (a call must come), ``none`` (an answer must come)
    or a tool's name (that call must come). `answer` is a JSON Schema that an answer must fit; it needs ``none``.
    `unchecked` names the tools whose schema no grammar can hold: only the name is constrained, and any JSON object may follow.
    With `before` the call begins at once, behind this rest of a token that was cut. `orders` gives the orders in which a tool's arguments
    stand in the training data. Without `several` a reply ends with its first call. Raises `UserError` for a `choice` not offered.
    """

    def __init__(
        self,
        protocol: Protocol,
        tools: Sequence[ToolSpec],
        tokenizer: Tokenizer,
        *,
        choice: str = "auto",
        answer: JsonObject | None = None,
        orders: Mapping[str, Sequence[Sequence[str]]] | None = None,
        before: str | None = None,
        several: bool = True,
    ) -> None:
        names = [tool.name for tool in tools]
        if choice not in (*CHOICES, *names):
            raise UserError(f'no tool "{choice}" is offered{nearest(choice, names)}')
        assert answer is None or choice == "none"
        self.protocol, self.tokenizer, self.choice = protocol, tokenizer, choice
        self._tokens = grammar_tokens(tokenizer)
        offered = tools if choice in CHOICES else [tool for tool in tools if tool.name == choice]
        self.tools, self.answer, self.orders = tuple(offered), answer, orders or {}
        syntax = protocol.call_syntax
        self.joint = syntax.joint if several else None
        if syntax.tagged:
            bodies = [(_tagged(tool, syntax), True) for tool in offered]
        else:
            bodies = [_arguments(tool, self.orders.get(tool.name, ()), self._tokens) for tool in offered]
        self.unchecked = frozenset(tool.name for tool, (_, checked) in zip(offered, bodies, strict=True) if not checked)
        self._schemas = {tool.name: normalised(tool.parameters) for tool in offered}
        self._markers = {tokenizer.decode([one]): one for one in tokenizer.special_ids}
        self._rules = _rules(protocol, [tool.name for tool in offered], [body for body, _ in bodies], answer, self._markers, self.joint)
        self.lazy = choice == "auto" and before is None
        self.before = before or ""
        self.offered = bool(tools)
        self.frees = choice == "none" and bool(protocol.call_syntax.answer) and answer is None
        self._matchers: dict[str, LLMatcher] = {}

    def misfit(self, call: ToolCall) -> str:
        """Why the arguments of a call do not fit a schema that no grammar can hold; empty where they do, and for every other tool."""
        if call.name not in self.unchecked:
            return ""
        from jsonschema import Draft202012Validator, SchemaError

        schema = self._schemas[call.name]
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError:
            return ""  # a schema that is none forbids nothing
        error = next(iter(Draft202012Validator(schema).iter_errors(call.arguments)), None)
        return "" if error is None else f"the arguments of {call.name} do not fit: {error.message}"

    def matcher(self, before: str = "") -> LLMatcher:
        """A fresh matcher for what is allowed after the text `before`, which stands in the token where the trigger begins."""
        from llguidance import LLMatcher

        if before not in self._matchers:
            rule = {"auto": "calls", "none": "final"}.get(self.choice, "forced")
            grammar = f"start: {_text(before, self._markers)} {rule}\n{self._rules}" if before else f"start: {rule}\n{self._rules}"
            made = LLMatcher(self._tokens, LLMatcher.grammar_from_lark(grammar), log_level=0)
            assert not made.is_error(), made.get_error()
            self._matchers[before] = made
        return self._matchers[before].deep_copy()


class RowConstraint:
    """One row's place in its grammar. Tokens are told by `push` as they are chosen."""

    def __init__(self, grammar: CallGrammar, stop_ids: frozenset[int], prompt: Sequence[int] = ()) -> None:
        self._grammar, self._stop_ids = grammar, sorted(stop_ids)
        self._prompt, self._source = prompt, ""
        self._trigger_end = grammar.protocol.call_syntax.trigger[-1]
        self._ids: list[int] = []
        self._matcher: LLMatcher | None = None if grammar.lazy else grammar.matcher(grammar.before)
        self._free = False  # whether a forced beginning is over
        self.refused = 0  # tokens whose likeliest id was not allowed

    @property
    def active(self) -> bool:
        """Whether `mask` must be laid on the next logits."""
        return self._matcher is not None and not self._free

    @property
    def complete(self) -> bool:
        """Whether the output can only stop here."""
        return self.active and self._matcher is not None and self._matcher.is_stopped()

    def begins(self, token: int) -> bool:
        """Whether `token` would complete the trigger; the grammar then holds from the trigger's first character on."""
        if self._matcher is not None or not self._grammar.lazy or not self._grammar.offered:
            return False
        tokenizer = self._grammar.tokenizer
        if self._trigger_end not in tokenizer.decode([token]):
            return False
        ids = [*self._ids, token]
        text = tokenizer.decode(ids)
        start = self._grammar.protocol.call_start(text)
        if start is None:
            return False
        whole, before = tokens_before(tokenizer, ids, text, start)
        matcher = self._grammar.matcher(before)
        earlier = self._ids[whole:]
        if matcher.try_consume_tokens(earlier) < len(earlier):  # a vocabulary whose pieces are not their text: the call stays free
            return False
        self._matcher = matcher
        return True

    def mask(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """``logits[vocabulary]`` with -inf for every id that is not allowed next. Stop ids are allowed where the grammar may end."""
        import numpy

        assert self._matcher is not None
        bits = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        allowed = numpy.unpackbits(bits, bitorder="little")[: len(logits)].astype(bool)
        allowed = numpy.pad(allowed, (0, len(logits) - len(allowed)))
        ends = [one for one in self._stop_ids if one < len(logits)]
        allowed[ends] = self._matcher.is_accepting()
        self.refused += not allowed[logits.argmax()]
        return numpy.where(allowed, logits, numpy.float32("-inf"))

    def allows(self, token: int) -> bool:
        """Whether `token` may come next."""
        assert self._matcher is not None
        if token in self._stop_ids:
            return bool(self._matcher.is_accepting())
        return self._matcher.validate_tokens([token]) == 1

    def draft(self, limit: int) -> list[int]:
        """At most `limit` tokens that are likely to come next, where a call has begun or begins; see `agent.draft`."""
        tokenizer = self._grammar.tokenizer
        if self._matcher is None:
            return before_call(self._ids, self._grammar.protocol, tokenizer, limit) if self._grammar.offered else []
        if self._free or self._matcher.is_stopped():
            return []
        self._source = self._source or tokenizer.decode(self._prompt)
        return in_call(self._ids, self._matcher, tokenizer, self._source, limit)

    def push(self, token: int) -> None:
        """The token that was chosen; not a stop."""
        self._ids.append(token)
        if self._matcher is None or self._free:
            return
        self._matcher.consume_token(token)
        assert not self._matcher.is_error(), self._matcher.get_error()
        self._free = self._grammar.frees and self._matcher.is_accepting()


def tokens_before(tokenizer: Tokenizer, ids: Sequence[int], text: str, at: int) -> tuple[int, str]:
    """(how many of `ids` lie wholly before character `at`, the text between them and it)."""
    for count in range(len(ids) - 1, -1, -1):
        head = tokenizer.decode(ids[:count])
        if len(head) <= at and text.startswith(head):
            return count, text[len(head) : at]
    return 0, text[:at]


def grammar_tokens(tokenizer: Tokenizer) -> LLTokenizer:
    """The tokenizer as llguidance knows it. Made once: for 150,000 ids it takes about a second.

    Raises `UserError` for one that tells no vocabulary.
    """
    return _grammar_tokens(cast(Hashable, tokenizer))


@functools.lru_cache(maxsize=4)
def _grammar_tokens(tokenizer: Tokenizer) -> LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    if not isinstance(tokenizer, GrammarTokenizer):
        raise UserError(f"the tokenizer {tokenizer.name} tells no vocabulary that a grammar could use; turn it off with --no-constrain")
    vocabulary = tokenizer.grammar_vocabulary
    if isinstance(vocabulary, str):
        return LLTokenizer(vocabulary, eos_token=tokenizer.eos_id)
    return LLTokenizer(TokenizerWrapper(_Bytes(tokenizer, vocabulary)))


class _Bytes:
    """What llguidance asks of a tokenizer that is not one of the tokenizers library."""

    def __init__(self, tokenizer: Tokenizer, tokens: Sequence[bytes]) -> None:
        self.eos_token_id = tokenizer.eos_id
        self.bos_token_id = tokenizer.bos_id
        self.tokens = list(tokens)
        self.special_token_ids = sorted(tokenizer.special_ids)
        self._encode = tokenizer.encode

    def __call__(self, text: bytes | str) -> list[int]:
        return self._encode(text.decode("utf-8", "replace") if isinstance(text, bytes) else text, special=False)


def _arguments(tool: ToolSpec, orders: Sequence[Sequence[str]], tokens: LLTokenizer) -> tuple[str, bool]:
    """(the grammar of a tool's arguments, whether it holds the whole schema)."""
    from llguidance import LLMatcher

    body = _alternatives(in_orders(without_overflow(normalised(tool.parameters)), orders))
    refused, _ = LLMatcher.validate_grammar_with_warnings(LLMatcher.grammar_from_lark(f"start: {body}"), tokens)
    return (body, True) if not refused else (_alternatives([{"type": "object"}]), False)


def _alternatives(schemas: Sequence[Mapping[str, object]]) -> str:
    return "( " + " | ".join("%json " + json.dumps({**schema, "x-guidance": _JSON}) for schema in schemas) + " )"


def _rules(
    protocol: Protocol,
    names: Sequence[str],
    bodies: Sequence[str],
    answer: JsonObject | None,
    markers: Mapping[str, int],
    joint: str | None,
) -> str:
    """Lark rules: ``calls`` from the trigger on, ``forced`` for a thought and calls, ``final`` for a thought and the answer."""
    syntax = protocol.call_syntax
    lines = []
    for number, (name, body) in enumerate(zip(names, bodies, strict=True)):
        written = json.dumps(name, ensure_ascii=False)[1:-1] if syntax.json_name else name
        head = _text(f"{'' if syntax.once else syntax.trigger}{syntax.before_name}{written}{syntax.between}", markers)
        end = f" {_text(syntax.end, markers)}" if syntax.end else ""
        own = f" /[A-Za-z0-9]{{{syntax.id_letters}}}/ {_text(syntax.id_end, markers)}" if syntax.id_letters else ""
        lines.append(f"call_{number}: {head} {body}{end}{own}")
    one = " | ".join(f"call_{number}" for number in range(len(names))) or _text(syntax.trigger, markers)
    more = f" ({_text(joint, markers)} call)*" if joint else ""
    opening = f"{_text(syntax.trigger + syntax.opening, markers)} " if syntax.once and names else ""
    close = f" {_text(syntax.close, markers)}" if syntax.close else ""
    thought = f'({_text(syntax.thought, markers)} THOUGHT "\\n")?' if syntax.thought else '(THOUGHT "\\n")?'
    thought = "" if protocol.thoughts == "nowhere" else thought
    forced = f"{_text(syntax.answer, markers)} " if syntax.answer else ""
    lead = f"{thought} {forced}" if syntax.answer else ""
    lines += [f"call: {one}", f"calls: {opening}call{more}{close}", f"forced: {thought} calls"]
    if syntax.tags:
        lines.append(f"value[suffix={json.dumps(syntax.tags[2])}]: /(?s:.*)/")
    lines.append(f"THOUGHT: /[^\\x00-\\x1f<]{{1,{THOUGHT}}}/")
    if answer is not None:
        lines.append(f"final: {lead}%json {json.dumps({**normalised_answer(answer), 'x-guidance': _JSON})}")
    elif syntax.answer:
        lines.append(f"final: {lead}BEGIN\nBEGIN: /(?s:\\s*\\S.*)/")
    else:
        lines.append(f"final: FREE\nFREE: /(?s:\\s*\\S.*)/ & ~/(?s:.*){_regex(syntax.trigger)}(?s:.*)/")
    return "\n".join(lines)


def normalised_answer(schema: JsonObject) -> dict[str, object]:
    """The schema of an answer: as it was asked for, or as a tool's arguments where it is an object."""
    return normalised(schema) if schema.get("type") == "object" else dict(schema)


def _text(text: str, markers: Mapping[str, int]) -> str:
    """Lark strings, and by their ids the special tokens that stand in `text`."""
    pattern = "|".join(map(re.escape, sorted((one for one in markers if one in text), key=len, reverse=True)))
    parts = [part for part in re.split(f"({pattern})", text) if part] if pattern else [text]
    return " ".join(f"<[{markers[part]}]>" if part in markers else json.dumps(part, ensure_ascii=False) for part in parts)


def _tagged(tool: ToolSpec, syntax: CallSyntax) -> str:
    """Arguments between tags: each of the declared names, as often as it comes, and any text that does not end its value."""
    known = tool.parameters.get("properties")
    names = list(known) if isinstance(known, Mapping) else []
    if not names or len(syntax.tags) != 3:
        return '""'
    before, between = (json.dumps(one, ensure_ascii=False) for one in syntax.tags[:2])
    name = " | ".join(json.dumps(one, ensure_ascii=False) for one in names)
    return f"({before} ({name}) {between} value)*"


def _regex(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_<>" or not letter.isascii() else f"\\{letter}" for letter in text)
