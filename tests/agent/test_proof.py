"""The proof of the grammar: a model's own logits at temperature 2 make no invalid call."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from jsonschema import Draft202012Validator

from agenttune import protocols, templates
from agenttune.agent.constrain import CallGrammar
from agenttune.agent.decode import decode
from agenttune.agent.schema_grammar import normalised
from agenttune.data.render import prompt_ids
from agenttune.evaluation import suites
from agenttune.models import load
from agenttune.models.base import Prefill, Prefix
from agenttune.protocols.base import Protocol
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import SamplingParams, Tokenizer
from agenttune.values.trajectory import ToolCall, ToolSpec

CALLS = 10_000 if os.environ.get("AGENTTUNE_PROVE") else 300
TOGETHER = 10  # calls under one tool set
TOKENS = 256
STOP = frozenset({2})
SHARED = (
    "toolalpaca:toolalpaca/eval_simulated.json",
    "sharegpt:glaive-demo/glaive_toolcall_en_demo.json",
    "toolbench:toolbench/dfs_answers.jsonl",
)
TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
KEYWORDS: tuple[dict[str, Any], ...] = (
    {"type": "boolean"},
    {"type": "null"},
    {"type": "number"},
    {"type": "number", "minimum": 0.5, "maximum": 2},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "integer", "minimum": -3, "maximum": 12},
    {"type": "integer", "multipleOf": 5},
    {"type": "integer", "enum": [1, 3, 5]},
    {"type": "string", "enum": ["north", "south west", 'a "quote"']},
    {"const": "only"},
    {"type": "string", "minLength": 3, "maxLength": 5},
    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
    *({"type": "string", "format": name} for name in ("date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "uri", "hostname")),
    {"type": "array", "items": WHOLE, "minItems": 1, "maxItems": 3},
    {"type": "array", "items": {"type": "array", "items": TEXT, "maxItems": 2}, "maxItems": 2},
    {"type": "array", "prefixItems": [TEXT, WHOLE], "items": False},
    {"type": "array", "items": WHOLE, "uniqueItems": True},
    {"type": "array", "contains": {"const": 1}, "items": WHOLE},
    {"type": "object", "properties": {"a": WHOLE, "b": TEXT}, "required": ["b"]},
    {"type": "object", "properties": {"a": WHOLE}, "additionalProperties": TEXT, "maxProperties": 2},
    {"type": "object", "patternProperties": {"^x_": WHOLE}, "additionalProperties": False},
    {"type": "object", "properties": {"a": WHOLE, "b": WHOLE}, "dependentRequired": {"a": ["b"]}},
    {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}},
    {"type": ["integer", "null"]},
    {"anyOf": [WHOLE, {"type": "string", "enum": ["all"]}]},
    {"oneOf": [{"type": "string", "maxLength": 2}, {"type": "boolean"}]},
    {"allOf": [{"type": "integer", "minimum": 1}, {"type": "integer", "maximum": 9}]},
    {"not": {"type": "string"}},
    {"if": {"type": "integer"}, "then": {"minimum": 1}},
    {"$ref": "#/$defs/node"},
    {"type": "int"},  # foreign words
    {"type": "dict", "properties": {"a": {"type": "float"}}},
)


def keyword_tools() -> Iterator[ToolSpec]:
    """A tool for each keyword: one argument with its schema, and one beside it."""
    node = {"type": "object", "properties": {"name": {"enum": ["x", "y"]}, "next": {"$ref": "#/$defs/node"}}, "required": ["name"]}
    for number, schema in enumerate(KEYWORDS):
        parameters = {"type": "object", "properties": {"value": schema, "on": {"type": "boolean"}}, "required": ["value"]}
        yield ToolSpec(name=f"keyword_{number}", parameters={**parameters, "$defs": {"node": node}} if "$ref" in schema else parameters)


def shared_tools(folder: Path) -> Iterator[ToolSpec]:
    """Every tool of the shared data, once."""
    seen = set()
    for name in SHARED:
        reader, _, file = name.partition(":")
        for case in suites.read(f"{reader}:{folder / file}", protocol="react"):
            for one in case.sample.tools:
                if (one.name, repr(one.parameters)) not in seen:
                    seen.add((one.name, repr(one.parameters)))
                    yield one


class Overhearing:
    """A model as it is; its logits are kept."""

    def __init__(self, model: Any) -> None:
        self._model, self.heard = model, list[Any]()
        self.tokenizer, self.context, self.name, self.card, self.fingerprint = model.tokenizer, model.context, "overheard", None, ""

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Any:
        return OverheardRows(self._model.start(prompts, prefixes), self.heard)


class OverheardRows:
    """Its rows."""

    drafts = False

    def __init__(self, rows: Any, heard: list[Any]) -> None:
        self._rows, self._heard = rows, heard
        self.prefill: tuple[Prefill, ...] = rows.prefill

    def logits(self) -> Any:
        found = self._rows.logits()
        self._heard += list(found)
        return found

    def advance(self, tokens: Sequence[int], drafts: Any = None) -> None:
        self._rows.advance(tokens)

    def keep(self, rows: Sequence[int]) -> None:
        self._rows.keep(rows)

    def prefix(self, row: int) -> Prefix:
        return Prefix()


class Drawing:
    """Draws from logits that a model had, at temperature 2: the largest of (logit / 2 + Gumbel noise) is a draw from the softmax
    (Maddison et al., arXiv 1411.0030), whatever part of it a mask leaves. Which of the model's moments it is, is drawn too."""

    def __init__(self, heard: Sequence[Any], tokenizer: Tokenizer) -> None:
        self.random = numpy.random.default_rng(3)
        self.heard = (numpy.stack(heard) / 2).astype(numpy.float32)
        self.noise = self.random.gumbel(size=(64, self.heard.shape[1])).astype(numpy.float32)
        self.tokenizer, self.context, self.name, self.card, self.fingerprint = tokenizer, 1 << 20, "drawing", None, ""

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Any:
        return DrawingRows(self, len(prompts))


class DrawingRows:
    """Its rows."""

    drafts = False

    def __init__(self, model: Drawing, count: int) -> None:
        self._model, self._count = model, count
        self.prefill = tuple(Prefill(tokens=1, passes=1) for _ in range(count))
        self._now = self._draw()

    def _draw(self) -> Any:
        draw = self._model.random.integers
        noise = numpy.roll(self._model.noise[draw(64, size=self._count)], int(draw(self._model.noise.shape[1])), axis=1)
        return self._model.heard[draw(len(self._model.heard), size=self._count)] + noise

    def greedy(self) -> list[int]:
        return [int(one) for one in self._now.argmax(1)]

    def logits(self) -> Any:
        return self._now

    def advance(self, tokens: Sequence[int], drafts: Any = None) -> None:
        self._now = self._draw()

    def keep(self, rows: Sequence[int]) -> None:
        self._count, self._now = len(rows), self._now[list(rows)]

    def prefix(self, row: int) -> Prefix:
        return Prefix()


def overheard(name: str, protocol: Protocol, offered: Sequence[Sequence[ToolSpec]]) -> Drawing:
    """What the embedded model's logits are while it writes calls of these tools at temperature 2."""
    model = load(name, dtype="float32")
    template = templates.load("auto", model.tokenizer)
    hearing: Any = Overhearing(model)
    for tools in offered:
        asked = Turn(system=protocol.system_text("You help.", tools), input="Please do what is needed.")
        sample = Sample(turns=(asked,), tools=tuple(tools), protocol=protocol.name)
        grammar = CallGrammar(protocol, tools, model.tokenizer, choice="required")
        sampling = SamplingParams(max_new_tokens=24, temperature=2.0, stop_ids=STOP)
        decode(hearing, [prompt_ids(sample, template, model.tokenizer)] * 2, sampling, grammars=[grammar] * 2)
    return Drawing(hearing.heard, model.tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["react", "hermes"])
def test_no_call_drawn_from_the_models_own_logits_is_invalid(smollm2: str, data_dir: Path, protocol: str) -> None:
    one, draw = protocols.get(protocol), random.Random(5)
    keywords, shared = [*keyword_tools()], [*shared_tools(data_dir)]
    chosen = [(keywords[at % len(keywords)], *draw.sample(shared, 2)) for at in range(CALLS // 2 // TOGETHER)]
    sets = [tuple({tool.name: tool for tool in tools}.values()) for tools in chosen]
    model: Any = overheard(smollm2, one, sets[:: max(1, len(sets) // 6)][:6])
    counts: Counter[str] = Counter()
    for tools in sets:
        grammar = CallGrammar(one, tools, model.tokenizer, choice="required")
        for made in decode(model, [[1]] * TOGETHER, SamplingParams(max_new_tokens=TOKENS, stop_ids=STOP), grammars=[grammar] * TOGETHER):
            counts["completed" if made.stop == "stop" else "cut"] += 1
            calls = one.parse(made.text).calls
            if made.stop == "stop":
                assert calls, made.text
            else:  # of calls one after the other, those before the cut are whole
                calls = tuple(call for call in calls if isinstance(call, ToolCall))
            for call in calls:
                assert isinstance(call, ToolCall), made.text
                tool = next((tool for tool in tools if tool.name == call.name), None)
                assert tool is not None, made.text
                if call.name in grammar.unchecked:
                    counts["only the name held, arguments told to be wrong" if grammar.misfit(call) else "only the name held, right"] += 1
                else:
                    checker = Draft202012Validator(normalised(tool.parameters), format_checker=Draft202012Validator.FORMAT_CHECKER)
                    assert checker.is_valid(call.arguments), (made.text, tool.parameters)
                    counts["valid calls"] += 1
    print(f"{protocol}, {len(shared)} tools of the shared data, {len(keywords)} keywords: {dict(counts)}, 0 invalid")
    assert counts["completed"] + counts["cut"] == len(sets) * TOGETHER
    assert counts["valid calls"] >= 0.1 * len(sets) * TOGETHER
