"""Our grammar and its structural tag allow and refuse the same texts; xgrammar, in an environment of its own, is asked about the latter."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from agenttune import protocols
from agenttune.agent.constrain import CallGrammar, RowConstraint
from agenttune.models.scripted import ByteTokenizer
from agenttune.protocols.base import Protocol
from agenttune.serving.backends.structural_tag import structural_tag
from agenttune.values.trajectory import Step, ToolCall, ToolSpec
from tests.benchmarks.peers import environment

ASK = """
import json, sys
import xgrammar
from xgrammar.testing import _is_grammar_accept_string as accepts

found = []
for tag, texts in json.load(sys.stdin):
    grammar = xgrammar.Grammar.from_structural_tag(json.dumps(tag))
    found.append([accepts(grammar, text) for text in texts])
print(json.dumps(found))
"""
END = 257


def tool(name: str, required: Sequence[str], **properties: Any) -> ToolSpec:
    return ToolSpec(name=name, parameters={"type": "object", "properties": properties, "required": list(required)})


TOOLS = (
    tool("weather", ["town"], town={"type": "string"}, unit={"enum": ["C", "F"]}),
    tool("add", ["a", "b"], a={"type": "integer"}, b={"type": "integer"}, exact={"type": "boolean"}),
    tool("note", ["lines"], lines={"type": "array", "items": {"type": "string"}, "minItems": 1}),
)
CALLS = (
    ToolCall(name="weather", arguments={"town": "Oslo"}),
    ToolCall(name="weather", arguments={"unit": "F", "town": 'São "Tomé"'}),
    ToolCall(name="add", arguments={"b": -20, "a": 1}),
    ToolCall(name="add", arguments={"a": 0, "b": 7, "exact": True}),
    ToolCall(name="note", arguments={"lines": ["one", "two, three"]}),
)
WRONG = (
    ToolCall(name="weather", arguments={}),
    ToolCall(name="weather", arguments={"town": 3}),
    ToolCall(name="weather", arguments={"town": "Oslo", "unit": "K"}),
    ToolCall(name="add", arguments={"a": 1}),
    ToolCall(name="add", arguments={"a": 1.5, "b": 2}),
    ToolCall(name="add", arguments={"a": 1, "b": 2, "c": 3}),
    ToolCall(name="note", arguments={"lines": []}),
    ToolCall(name="subtract", arguments={"a": 1, "b": 2}),
)
LETTERS = 'aZ9"{}[]:,.-_<>/\\é'


def ours_allows(grammar: CallGrammar, text: str) -> bool:
    """Whether a model of bytes could say `text` and stop under our grammar."""
    row = RowConstraint(grammar, frozenset((END,)))
    for token in ByteTokenizer().encode(text, special=False):
        if row.complete or (row.active and not row.allows(token)) or (not row.active and row.begins(token) and not row.allows(token)):
            return False
        row.push(token)
    return not row.active or row.complete or row.allows(END)


def mutated(text: str, draw: random.Random) -> str:
    """`text` with a letter dropped, added or changed. White space stays: inside JSON xgrammar allows any, and we allow one form."""
    places = [at for at, letter in enumerate(text) if not letter.isspace()]
    at, kind = draw.choice(places), draw.randrange(3)
    return text[:at] + ("" if kind == 0 else draw.choice(LETTERS)) + text[at + (kind != 1) :]


def texts_of(protocol: Protocol, draw: random.Random, count: int) -> list[str]:
    """Calls that fit and that do not, answers, texts that end too early or too late, and small changes of all of them."""
    said = [protocol.write_step(Step(thought=thought, calls=(call,))) for call in (*CALLS, *WRONG) for thought in ("", "I look.")]
    said += [protocol.write_step(Step(thought="I know.", answer=text)) for text in ("Four.", "Two lines:\n1\n2")]
    said += ["no marker at all", said[0] + "\nmore", said[1] + said[0]]
    while len(said) < count:
        text = draw.choice(said[: len(CALLS) * 2 + 8])
        said.append(mutated(text, draw) if draw.random() < 0.75 else text[: draw.randrange(1, len(text))])
    return said


@pytest.mark.slow
def test_xgrammar_accepts_and_refuses_the_same_five_hundred_texts() -> None:
    packages = ["--no-deps", "xgrammar==0.2.9", "apache-tvm-ffi==0.1.15.post2"]  # its other needs are ours; triton is not used
    python = environment("xgrammar", packages, above_ours=True)
    if python is None:
        pytest.skip("no package index can be reached")
    draw, asked, ours = random.Random(3), [], []
    for name in ("react", "hermes"):
        for choice in ("auto", "required", "add"):
            grammar = CallGrammar(protocols.get(name), TOOLS, ByteTokenizer(), choice=choice)
            texts = texts_of(protocols.get(name), draw, 84)
            asked.append((structural_tag(grammar), texts))
            ours.append([ours_allows(grammar, text) for text in texts])
    done = subprocess.run([python, "-c", ASK], input=json.dumps(asked), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads(done.stdout)
    total = sum(len(texts) for _, texts in asked)
    accepted = sum(map(sum, ours))
    judged = [zip(texts, left, right, strict=True) for (_, texts), left, right in zip(asked, ours, theirs, strict=True)]
    differ = [(text, mine) for one in judged for text, mine, other in one if mine != other]
    print(f"{total} texts, {accepted} accepted, {len(differ)} judged differently")
    assert total >= 500 and 80 < accepted < total - 80
    assert differ == []


@pytest.mark.parametrize(("name", "choice"), [("react", "auto"), ("hermes", "auto"), ("hermes", "required")])
def test_a_tag_for_each_tool(name: str, choice: str) -> None:
    made: Any = structural_tag(CallGrammar(protocols.get(name), TOOLS, ByteTokenizer(), choice=choice))
    text = json.dumps(made)
    assert made["type"] == "structural_tag"
    for one in TOOLS:
        begin = f"Action: {one.name}\nAction Input: " if name == "react" else f'<tool_call>\n{{"name": "{one.name}", "arguments": '
        assert json.dumps(begin)[1:-1] in text


def test_markers_that_are_no_text_and_tools_that_are_none_have_no_tag() -> None:
    """A special token in a marker, or arguments between tags: the grammar here holds such an output, and the server is asked freely."""
    assert structural_tag(CallGrammar(protocols.get("react"), (), ByteTokenizer())) is None
    assert structural_tag(CallGrammar(protocols.get("native/qwen3_coder"), TOOLS, ByteTokenizer())) is None
    assert structural_tag(CallGrammar(protocols.get("native/deepseek_v3"), TOOLS, ByteTokenizer())) is None
