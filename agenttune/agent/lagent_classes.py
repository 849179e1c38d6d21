"""lagent's own ReAct with our tools as its actions and our session as its model. lagent is imported when this is first asked for.

https://github.com/InternLM/lagent, `lagent/agents/react.py` of 0.2.4 (Apache-2.0).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttune.agent.toolbox.lagent import EXTRA
from agenttune.errors import UserError
from agenttune.protocols.react_zh import tool_text
from agenttune.values.trajectory import JsonObject, Observation, ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """lagent wants the next reply to these messages (role and content)."""

    messages: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRead:
    """What lagent read in the last reply: an action's name, or that of its own for an answer or for nothing, and the text after it."""

    name: str
    command: str
    answers: bool
    nothing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAction:
    """lagent calls one of our tools; the reply is an `Observation`."""

    name: str
    arguments: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionAnswered:
    """What lagent will tell the model of the action."""

    text: str
    error: bool


Ask = Callable[[Generate | ActionRead | RunAction | ActionAnswered], Any]


class _Text:
    """JSON under Python's ``str.format``, in the place where lagent would write a list's repr."""

    def __init__(self, value: object) -> None:
        self._text = json.dumps(value, ensure_ascii=False)

    def __str__(self) -> str:
        return self._text


def make_react(specs: Sequence[ToolSpec], system: str, max_turn: int, ask: Ask) -> Any:
    """lagent's `ReAct` under its Chinese protocol text; whatever it wants done goes through `ask`.

    Two of its own settings are ours. Its tool list and names are filled in as XTuner filled them when it made the data that adapters were
    tuned on, name → description, as JSON. And a response ends without a line break of its own, because the template ends the turn.
    Raises `UserError` where lagent is not installed.
    """
    own = _classes()
    protocol = own.protocol(
        call_protocol=(system.replace("{", "{{").replace("}", "}}") + "\n\n" if system else "") + own.call_protocol,
        force_stop=own.force_stop,
        response={"role": "RESPONSE", "begin": "Response:", "end": ""},
    )
    executor = own.executor([own.action(spec, ask) for spec in specs], specs, ask)
    return own.react(llm=own.model(ask), action_executor=executor, protocol=protocol, max_turn=max_turn)


def check_installed() -> None:
    """Raises `UserError` where lagent is not installed."""
    _classes()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Classes:
    react: Any
    protocol: Any
    call_protocol: str
    force_stop: str
    model: Any
    action: Any
    executor: Any


@functools.cache
def _classes() -> _Classes:
    try:
        from lagent.actions import ActionExecutor, BaseAction, JsonParser
        from lagent.agents.react import CALL_PROTOCOL_CN, FORCE_STOP_PROMPT_CN, ReAct, ReActProtocol
        from lagent.llms.base_llm import BaseModel
        from lagent.schema import ActionReturn, ActionStatusCode
    except ImportError as error:
        raise UserError(f"--lagent needs the extra {EXTRA}: pip install '{EXTRA}' ({error})") from error

    class SessionModel(BaseModel):  # type: ignore[misc]
        """Our session as lagent's language model."""

        def __init__(self, ask: Ask) -> None:
            super().__init__("agenttune")
            self._ask = ask

        def chat(self, inputs: Sequence[Mapping[str, str]], **settings: Any) -> str:
            return str(self._ask(Generate(messages=tuple(inputs))))

    class ToolAction(BaseAction):  # type: ignore[misc]
        """One of our tools as an action: it runs where our tools run."""

        def __init__(self, spec: ToolSpec, ask: Ask) -> None:
            properties = spec.parameters.get("properties", {})
            parameters = [{"name": name, "type": "STRING", "description": ""} for name in properties]
            required = list(spec.parameters.get("required", ()))
            described = {"name": spec.name, "description": spec.description, "parameters": parameters, "required": required}
            super().__init__(described, JsonParser)
            self._ask = ask

        def run(self, **arguments: Any) -> Any:
            """Any tool."""
            seen: Observation = self._ask(RunAction(name=self.name, arguments=arguments))
            if seen.error:
                return ActionReturn(type=self.name, errmsg=seen.text, state=ActionStatusCode.API_ERROR)
            return ActionReturn(type=self.name, result=[{"type": "text", "content": seen.text}])

    class ToldExecutor(ActionExecutor):  # type: ignore[misc]
        """lagent's executor, which tells what it was given and what came of it."""

        def __init__(self, actions: Sequence[Any], specs: Sequence[ToolSpec], ask: Ask) -> None:
            super().__init__(list(actions))
            self._specs, self._ask = specs, ask

        def get_actions_info(self) -> Any:
            return _Text({spec.name: tool_text(spec) for spec in self._specs})

        def action_names(self, only_enable: bool = True) -> Any:
            return _Text([spec.name for spec in self._specs])

        def __call__(self, name: str, command: str) -> Any:
            answers, nothing = name == self.finish_action.name, name == self.no_action.name
            self._ask(ActionRead(name=name, command=command, answers=answers, nothing=nothing))
            returned = super().__call__(name, command)
            failed = returned.state != ActionStatusCode.SUCCESS
            told = (returned.errmsg if failed else returned.format_result()) or ""
            self._ask(ActionAnswered(text=told, error=failed))
            return returned

    return _Classes(
        react=ReAct,
        protocol=ReActProtocol,
        call_protocol=CALL_PROTOCOL_CN,
        force_stop=FORCE_STOP_PROMPT_CN,
        model=SessionModel,
        action=ToolAction,
        executor=ToldExecutor,
    )
