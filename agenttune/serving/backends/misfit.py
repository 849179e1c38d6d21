"""Whether a reply of a server that no grammar holds is one that was asked for."""

from __future__ import annotations

import json

from agenttune.agent.constrain import CallGrammar, normalised_answer
from agenttune.agent.ladder import fits
from agenttune.values.tokens import Completion
from agenttune.values.trajectory import Malformed, Step, ToolCall


def misfit(step: Step, completion: Completion, grammar: CallGrammar) -> str:
    """Why a step is not what `grammar` allows, in words for a person; empty where it is, and for a reply that a limit cut."""
    if completion.stop in ("length", "context"):
        return ""
    calls = [call for call in step.calls if isinstance(call, ToolCall)]
    broken = next((call for call in step.calls if isinstance(call, Malformed)), None)
    if broken is not None and grammar.protocol.call_start(completion.text) is not None:
        return f"a call that cannot be read ({broken.reason})"
    if grammar.choice == "none":  # a text without the words of the protocol is its own answer, as a client is told it
        return "a call, where an answer was asked for" if calls else _other_form(step.answer or completion.text, grammar)
    if grammar.choice != "auto" and not calls:
        return "no call, where one was asked for"
    wrong = next((call for call in calls if not fits(call, grammar.tools)), None)
    return "" if wrong is None else f"a call of {wrong.name[:80]} that fits no tool that was offered"


def _other_form(answer: str, grammar: CallGrammar) -> str:
    if grammar.answer is None:
        return ""
    from jsonschema import Draft202012Validator, SchemaError, ValidationError

    try:
        Draft202012Validator(normalised_answer(grammar.answer)).validate(json.loads(answer))
    except SchemaError:
        return ""  # a schema that is none forbids nothing
    except (ValueError, RecursionError):
        return "an answer that is no JSON"
    except ValidationError as error:
        return f"an answer of another form ({error.message[:200]})"
    return ""
