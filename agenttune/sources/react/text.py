"""ReAct text of other projects as steps: Thought / Action / Action Input / Observation / Final Answer lines, or ``Action: name[text]``.

This is not our wire format (that is `agenttune.protocols`): dialects differ. Labels may be numbered (``Thought 2:``) or begin with
``ASSISTANT``; ``ActionPath`` lines (KnowAgent) are part of the thought; an action named ``finish`` is the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import read_value, strip_fence, text_of
from agenttune.values.trajectory import Json, Observation, Step, ToolCall, ToolSpec

_LABEL = re.compile(
    r"^(?:ASSISTANT )?(Thought|ActionPath|Action[ _]Input|Action|Observation|Final Answer|Answer)(?: \d{1,3})?[ \t]*[:：]", re.MULTILINE
)
_BRACKETS = re.compile(r"([A-Za-z_][\w.\- ]{0,63})\[(.*)\]", re.DOTALL)
_REWARD = re.compile(r"Episode finished, reward = (\S+?)\.?\s*\Z|Answer is (CORRECT|INCORRECT)\s*\Z")
_ONE_TEXT = re.compile(r'\A\{\s*"([^"\\]{1,64})"\s*:\s*"(.*)"\s*\}\Z', re.DOTALL)
_BARE_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)"')
_NEXT_KEY = re.compile(r'"\s*,\s*"[^"\\]{1,64}"\s*:')
_HEADLESS = re.compile(r"""["'][^"'\n]{1,64}["']\s*:""")  # an object without its bracket is no text
_PATH = "ActionPath: "
FINISH = "finish"


@dataclass(slots=True)
class ReactReader:
    """The steps of one round, built part by part.

    `answers`: a bare ``Answer:`` line is a label. `finish`: an action of that name is the answer.
    """

    tools: Mapping[str, ToolSpec]
    notes: list[str]
    finish: bool = True
    answers: bool = False
    done: list[Step] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    name: str = ""  # an action whose input has not come yet
    finish_call: ToolCall | None = None  # the action that was read as the answer: a result after it shows that it is none
    weight: float = 1.0

    def message(self, text: str, *, weight: float, others: Sequence[str] = ()) -> None:
        """What the model said in one message; `others` are texts it could have said as well, each one step. Raises `Refusal`."""
        first = len(self.done)
        self.weight = weight
        self.text(text)
        if not others:
            return
        made = [self._alternative(other) for other in (text, *others)]
        self.done[first:] = [replace(self.done[first], alternatives=tuple(made[1:]))]

    def _alternative(self, text: str) -> Step:
        reader = ReactReader(tools=self.tools, notes=[], finish=self.finish, answers=self.answers)
        reader.text(text)
        if len(reader.done) != 1:
            raise Refusal("alternatives", f"each of several accepted texts must be one step, this is {len(reader.done)}", text)
        return reader.done[0]

    def text(self, text: str) -> None:
        """What the model said in one message. Raises `Refusal`."""
        parts = list(parts_of(text, answers=self.answers))
        if [kind for kind, _ in parts] == ["text"]:
            self.notes.append("answer_unlabelled")
            self._answer(parts[0][1])
        else:
            for kind, body in parts:
                self._part(kind, body)
        if self.name:
            raise Refusal("action", f'the action "{self.name}" has no Action Input', text)
        if self.thought:
            raise Refusal("step", "a thought is followed by neither an action nor an answer", text)

    def answer(self, text: str, thought: str = "") -> None:
        """An answer that came with its own label: nothing in it is one."""
        self.thought += [thought] if thought else []
        self._answer(text.strip())

    def observe(self, text: str) -> None:
        """What a tool answered to the last call. Raises `Refusal` (``orphan``) where there is none that waits."""
        reward = _REWARD.match(text.strip())
        if reward and any(step.answer is not None for step in self.done):  # also where the model went on after its answer
            self.notes.append(f"reward: {reward.group(1) or reward.group(2)}")
            self.finish_call = None
            return
        if self.finish_call is not None:
            self.notes.append("finish_is_a_tool")  # an answer has no result
            self.done[-1] = replace(self.done[-1], answer=None, calls=(self.finish_call,))
            self.finish_call = None
        if not self.waiting():
            raise Refusal("orphan", "an observation stands where no call waits for one", text)
        self.done[-1] = replace(self.done[-1], observations=(Observation(text=text),))

    def waiting(self) -> ToolCall | None:
        """The call that nobody has answered yet, if the last step is one."""
        last = self.done[-1] if self.done else None
        if last is None or not last.calls or last.observations:
            return None
        call = last.calls[0]
        assert isinstance(call, ToolCall)
        return call

    def _part(self, kind: str, body: str) -> None:
        if self.name and kind != "input":
            raise Refusal("action", f'the action "{self.name}" has no Action Input', body)
        if kind in ("text", "thought", "path"):
            self._think(kind, body)
        elif kind == "action":
            self._action(body)
        elif kind == "input":
            self._input(body)
        elif kind == "observation":
            self.observe(body)
        else:
            self._answer(body)

    def _think(self, kind: str, body: str) -> None:
        if kind != "thought":
            self.notes.append("thought_unlabelled" if kind == "text" else "action_path_in_thought")
        elif self.thought and not self.thought[-1].startswith(_PATH):
            self.notes.append("thought_joined")
        self.thought += [_PATH + body if kind == "path" else body]

    def _action(self, body: str) -> None:
        found = _BRACKETS.match(body)
        if found is None:
            self.name = body
            if not body or "\n" in body:
                raise Refusal("action", "an action has no name, or more than one line", body)
            return
        tail = body[found.end() :].strip()
        if tail:
            self.notes.append(f"action_tail: {tail}")
        name, text = found.group(1).strip(), found.group(2)
        self._call(name, {"input": text}, text)

    def _input(self, body: str) -> None:
        if not self.name:
            raise Refusal("action", "an Action Input follows no action", body)
        name, self.name = self.name, ""
        arguments = self._arguments(name, body)
        answer = answer_of(arguments, self.notes) if self._is_finish(name) else None
        self._call(name, arguments, answer)

    def _is_finish(self, name: str) -> bool:
        return self.finish and name.lower() == FINISH

    def _call(self, name: str, arguments: dict[str, Json], answer: str | None) -> None:
        call = ToolCall(name=name, arguments=arguments)
        if answer is None or not self._is_finish(name):
            self._step(Step(calls=(call,)))
            return
        self._answer(answer)
        self.finish_call = call

    def _answer(self, text: str) -> None:
        self._step(Step(answer=text))

    def _step(self, step: Step) -> None:
        self.finish_call = None
        if self.waiting():
            self.notes.append("gap")  # nobody answered the call before
        self.done.append(replace(step, thought="\n".join(part for part in self.thought if part), weight=self.weight))
        self.thought.clear()

    def _arguments(self, name: str, body: str) -> dict[str, Json]:
        if not body:
            self.notes.append("input_missing")
            return {}
        try:
            value, change = read_value(body)
        except Refusal as error:
            value, change = self._mended(body, error)
        if change:
            self.notes.append(change)
        if isinstance(value, dict):
            return value
        self.notes.append("input_named")
        tool = self.tools.get(name)
        properties = list(tool.parameters.get("properties") or {}) if tool else []
        return {properties[0] if len(properties) == 1 else "input": value}

    def _mended(self, body: str, error: Refusal) -> tuple[Json, str]:
        if not strip_fence(body).startswith(("{", "[")) and not _HEADLESS.match(strip_fence(body)):
            return body, "input_text"
        mended = quotes_escaped(strip_fence(body))
        if mended is None:
            raise Refusal("arguments", f"an Action Input cannot be read: {error.sentence}", body) from error
        return mended, "quotes_escaped"


def parts_of(text: str, *, answers: bool) -> Iterator[tuple[str, str]]:
    """``(kind, body)`` in order, bodies stripped; kinds: text (before any label), thought, path, action, input, observation, answer."""
    at, kind = 0, "text"
    for found in _LABEL.finditer(text):
        label = found.group(1)
        if label == "Answer" and not answers:
            continue
        body = text[at : found.start()].strip()
        if body or kind != "text":
            yield kind, body
        at, kind = found.end(), _kind(label)
    body = text[at:].strip()
    if body or kind != "text":
        yield kind, body


def _kind(label: str) -> str:
    kinds = {"Thought": "thought", "ActionPath": "path", "Action": "action", "Observation": "observation"}
    return kinds.get(label, "input" if label.startswith("Action") else "answer")


def quotes_escaped(body: str) -> dict[str, Json] | None:
    """``{"key": "text with "bare" quotes"}`` read as the one text it must be; None where it could be anything else."""
    found = _ONE_TEXT.match(body)
    if found is None or _NEXT_KEY.search(found.group(2)):
        return None
    inner = _BARE_QUOTE.sub(lambda quote: quote.group(1) + '\\"', found.group(2))
    try:
        return {found.group(1): json.loads(f'"{inner}"', strict=False)}
    except ValueError:
        return None


def answer_of(arguments: Mapping[str, Json], notes: list[str]) -> str | None:
    """The text in a finish call: its ``answer`` or ``final_answer``, or its only argument; None where it holds none, and is a call."""
    for key in ("answer", "final_answer", *(arguments if len(arguments) == 1 else ())):
        if key in arguments:
            rest = {name: value for name, value in arguments.items() if name != key}
            if rest:
                notes.append(f"finish_fields: {text_of(rest)}")
            return text_of(arguments[key]).strip()
    return None
