"""ALFWorld's text of ReAct and KnowAgent: ``> think: …``, ``> ActionPath: …``, ``> go to shelf 1``, each followed by what the world says.

An action becomes a call of ``act`` with the one argument ``action``: the dialect itself has no name for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, Trajectory

TOOL, ARGUMENT = "act", "action"
_LINE = re.compile(r"^>[ \t]*", re.MULTILINE)
_SAID = re.compile(r"(think|actionpath)[ \t]*:[ \t]*", re.IGNORECASE)
_KNOWN = re.compile(r"\A\s*>[ \t]*\S")


def knows(text: str) -> bool:
    """Whether the text begins with a ``>`` line."""
    return _KNOWN.match(text) is not None


@dataclass(slots=True)
class _World:
    notes: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def part(self, body: str) -> None:
        line, _, reply = body.partition("\n")
        line, reply = line.strip(), reply.strip()
        said = _SAID.match(line)
        if said is None:
            self._act(line, reply)
            return
        if said.group(1).lower() == "actionpath":
            self.notes.append("action_path_in_thought")
            self.thought.append(line)
        else:
            self.thought.append(line[said.end() :])
        if reply:
            self.notes.append(f"think_reply: {reply}")

    def _act(self, line: str, reply: str) -> None:
        if not line:
            raise Refusal("action", "an action line is empty", reply)
        if self.steps and not self.steps[-1].observations:
            self.notes.append("gap")
        seen = (Observation(text=reply),) if reply else ()
        call = ToolCall(name=TOOL, arguments={ARGUMENT: line})
        self.steps.append(Step(thought="\n".join(self.thought), calls=(call,), observations=seen))
        self.thought.clear()


def trajectory(question: str, text: str, name: str, options: ReadOptions) -> Trajectory:
    """A task and the lines that follow it. Raises `Refusal`."""
    world = _World()
    for body in _LINE.split(text)[1:]:
        world.part(body)
    if world.thought:
        raise Refusal("step", "a thought is followed by no action", world.thought[-1])
    return Trajectory(
        id=name,
        file=options.file,
        line=options.line,
        rounds=(Round(user=question, steps=tuple(world.steps)),),
        notes=tuple(world.notes),
    )
