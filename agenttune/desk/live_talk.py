"""One training conversation as it is made, and what its sums and searches say."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from agenttune.agent.toolbox.answers import ToolError
from agenttune.agent.toolbox.run import Toolbox
from agenttune.desk import words
from agenttune.desk.live_tools import Named, OfferedTools, shipped_two
from agenttune.values.trajectory import Observation, Round, Step, ToolCall


@dataclass(slots=True)
class Talk:
    """One conversation as it is made: its tools really run. `fault` makes the first call fail once."""

    listed: OfferedTools
    fault: str = ""
    rounds: list[Round] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def ask(self, text: str) -> None:
        """A new round."""
        self.rounds.append(Round(user=text))
        self.steps = []

    def call(self, tool: Named, value: str, thought: str) -> str:
        """A call and what it answers; with a fault it is tried again."""
        call = ToolCall(name=tool.name, arguments={tool.parameter: value})
        if self.fault:
            failed = Observation(text=f"Error: {self.fault}", error=True)
            self._add(Step(thought=thought, calls=(call,), observations=(failed,)))
            self.fault, thought = "", words.RETRY[0].format(name=tool.name)
        (seen,) = Toolbox(self.listed.tools, inline=True).run([call])
        assert not seen.error, (call, seen.text)
        self._add(Step(thought=thought, calls=(call,), observations=(seen,)))
        return seen.text

    def answer(self, text: str, thought: str) -> None:
        """Ends the round."""
        self._add(Step(thought=thought, answer=text))

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        self.rounds[-1] = Round(user=self.rounds[-1].user, steps=tuple(self.steps))


def reckoning(tool: Named, expression: str) -> str:
    """The thought before a sum."""
    return f"To work out a sum. {tool.line(expression)}"


def seeking(tool: Named, query: str) -> str:
    """The thought before a search."""
    return f"To look up a fact. {tool.line(query)}"


def evaluated(expression: str) -> str:
    """The shipped calculator's result; empty where it refuses."""
    try:
        return shipped_two()[0].call({"expression": expression})
    except ToolError:
        return ""


def usable(expression: str) -> bool:
    """Whether it has a result that people ask for: not negative, not of more than ten figures before the point."""
    result = evaluated(expression)
    return bool(result) and "e" not in result and not result.startswith("-") and len(result.partition(".")[0]) <= 10


def answered(result: str, lang: str) -> str:
    """The answer to a sum; a long decimal is rounded, and said to be."""
    decimals = result.partition(".")[2]
    about = len(decimals) > 4
    shown = f"{round(Decimal(result), 2)}" if about else result
    if lang == "zh":
        return f"结果{'约' if about else ''}是{shown}。"
    return f"The result is {'about ' if about else ''}{shown}."
