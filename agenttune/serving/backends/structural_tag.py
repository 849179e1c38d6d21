"""A grammar in the words of xgrammar's structural tags, which vLLM and SGLang take as a ``response_format``.

The rule is that of `agent.constrain`: free text up to the trigger, then one tag a tool. The format is documented in xgrammar's
"Structural Tag Usage" (github.com/mlc-ai/xgrammar, docs/structural_tag). One thing differs: inside JSON it allows any white space,
where training data and our grammar have one form.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from agenttune.agent.constrain import THOUGHT, CallGrammar, normalised_answer
from agenttune.agent.schema_grammar import in_orders, normalised
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Json, JsonObject, ToolSpec

_THOUGHT = f"[^\\x00-\\x1f<]{{1,{THOUGHT}}}"
_TEXT: Json = {"type": "any_text"}


def structural_tag(grammar: CallGrammar) -> JsonObject | None:
    """The ``response_format`` that holds an output to `grammar`; None where its markers are no plain text, or nothing is held.

    >>> from agenttune import protocols
    >>> from agenttune.models.scripted import ByteTokenizer
    >>> look = ToolSpec(name="look", parameters={"type": "object", "properties": {"at": {"type": "string"}}})
    >>> made = structural_tag(CallGrammar(protocols.get("hermes"), [look], ByteTokenizer()))
    >>> made["type"], made["format"]["elements"][0]["triggers"]
    ('structural_tag', ['<tool_call>'])
    """
    syntax = grammar.protocol.call_syntax
    markers = (syntax.trigger, syntax.before_name, syntax.between, syntax.end, syntax.joint or "", syntax.thought, syntax.answer)
    if syntax.tagged or syntax.once or syntax.id_letters or _special(markers, grammar.tokenizer):
        return None
    if grammar.choice == "none":
        form = _answer(grammar)
    elif not grammar.tools:
        return None
    elif grammar.choice != "auto":
        form = _sequence(_thought(grammar), _calls(grammar))
    else:
        form = _lines(grammar) if syntax.answer else _triggered(grammar)
    return None if form is None else {"type": "structural_tag", "format": form}


def _special(markers: Sequence[str], tokenizer: Tokenizer) -> bool:
    names = [tokenizer.decode([one]) for one in tokenizer.special_ids]
    return any(name and name in text for name in names for text in markers)


def _calls(grammar: CallGrammar) -> Json:
    """One call, or several where the protocol has parallel calls."""
    joint, tags = grammar.joint, [_tag(grammar, tool) for tool in grammar.tools]
    if joint is None:
        return _either(tags)
    return {"type": "tags_with_separator", "tags": tags, "separator": joint, "at_least_one": True}


def _triggered(grammar: CallGrammar) -> Json:
    """Text up to the trigger, wherever it stands; behind the calls nothing."""
    syntax, tags = grammar.protocol.call_syntax, [_tag(grammar, tool) for tool in grammar.tools]
    first: Json = {"type": "triggered_tags", "triggers": [syntax.trigger], "tags": tags, "stop_after_first": True}
    if grammar.joint is None:
        return first
    return _sequence(first, {"type": "star", "content": _sequence(_const(grammar.joint), _either(tags))})


def _lines(grammar: CallGrammar) -> Json:
    """Lines of other words; then a line that begins with the trigger, or with the answer's marker, decides."""
    syntax = grammar.protocol.call_syntax
    other = _other_line((syntax.trigger, syntax.answer.rstrip()))
    lines: Json = {"type": "regex", "pattern": f"(({other})\\n)*"}
    last: Json = {"type": "regex", "pattern": f"({other})"}
    return _sequence(lines, _either([_calls(grammar), _sequence(_const(syntax.answer.rstrip()), _TEXT), last]))


def _other_line(words: Sequence[str]) -> str:
    """A regular expression of the lines that begin with none of the words."""
    starts = sorted({word[:end] for word in words for end in range(len(word))})
    branches = []
    for start in starts:
        nexts = sorted({word[len(start)] for word in words if word.startswith(start)})
        branches.append(f"{_literal(start)}([^{''.join(map(_in_class, nexts))}\\n][^\\n]*)?")
    return "|".join(branches)


def _answer(grammar: CallGrammar) -> Json | None:
    syntax = grammar.protocol.call_syntax
    if grammar.answer is None:
        text: Json = {"type": "regex", "pattern": "\\s*\\S(.|\\n)*"}
        return _sequence(_thought(grammar), _const(syntax.answer), text) if syntax.answer else None
    schema: Json = {"type": "json_schema", "json_schema": normalised_answer(grammar.answer)}
    return _sequence(_thought(grammar), _const(syntax.answer), schema) if syntax.answer else schema


def _thought(grammar: CallGrammar) -> Json:
    """A thought before something that is forced, or none."""
    if grammar.protocol.thoughts == "nowhere":
        return _const("")
    begin = grammar.protocol.call_syntax.thought
    return {"type": "optional", "content": {"type": "regex", "pattern": f"{_literal(begin)}{_THOUGHT}\\n"}}


def _tag(grammar: CallGrammar, tool: ToolSpec) -> Json:
    syntax = grammar.protocol.call_syntax
    name = json.dumps(tool.name, ensure_ascii=False)[1:-1] if syntax.json_name else tool.name
    begin = f"{syntax.trigger}{syntax.before_name}{name}{syntax.between}"
    schema = {"type": "object"} if tool.name in grammar.unchecked else normalised(tool.parameters)
    orders = in_orders(schema, grammar.orders.get(tool.name, ()))
    content = _either([{"type": "json_schema", "json_schema": one} for one in orders])
    return {"type": "tag", "begin": begin, "content": content, "end": syntax.end}


def _const(text: str) -> Json:
    return {"type": "const_string", "value": text}


def _either(forms: Sequence[Json]) -> Json:
    return forms[0] if len(forms) == 1 else {"type": "or", "elements": list(forms)}


def _sequence(*forms: Json) -> Json:
    """The forms in turn, without empty ones."""
    kept = [one for one in forms if one != _const("")]
    return kept[0] if len(kept) == 1 else {"type": "sequence", "elements": kept}


def _literal(text: str) -> str:
    return "".join(one if one.isalnum() or one in " _:<>" or not one.isascii() else f"\\{one}" for one in text)


def _in_class(letter: str) -> str:
    return f"\\{letter}" if letter in "\\]^-" else letter
