"""Every training request is really run: the scripted model is the expert, the tools answer, the ordinary loop ties them together."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any, cast

from agenttune import templates
from agenttune.agent import react
from agenttune.agent.agent import Agent
from agenttune.agent.events import RunFinished, ToolAnswered
from agenttune.agent.step import STRICT
from agenttune.agent.toolbox.answers import ToolError
from agenttune.agent.toolbox.run import Toolbox
from agenttune.agent.toolbox.signatures.functions import Tool
from agenttune.desk import words
from agenttune.desk.offers import Offer
from agenttune.desk.recipe import Recipe
from agenttune.desk.request import PlannedRequest, Request
from agenttune.desk.thoughts import calling
from agenttune.models.scripted import ScriptedModel
from agenttune.protocols.react import REACT
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Round, Step, ToolCall, Trajectory

LIMITS = SamplingParams(max_new_tokens=4096)


def answering(tool: Tool, fault: str = "") -> Tool:
    """The tool with its result as a JSON object; with a fault its first call, or each call with an unusual date, fails."""
    calls: list[int] = []

    @functools.wraps(tool.function)
    def run(**keywords: Any) -> dict[str, Any]:
        calls.append(1)
        if fault and len(calls) == 1:
            raise ToolError(_fault(fault, keywords))
        result = tool.function(**keywords)
        return result if isinstance(result, dict) else {"result": result}

    return replace(tool, function=cast(FunctionType, run), origin=None)


def _fault(fault: str, keywords: dict[str, Any]) -> str:
    if fault != "date":
        return fault
    wrong = next(value for value in keywords.values() if isinstance(value, str) and len(value.split()) == 3)
    return f'"{wrong}" is not in the form YYYY-MM-DD'


@dataclass(slots=True)
class Expert:
    """Says the next right step of a request. `seen` collects what the tools answered."""

    request: Request
    thought: str
    phrases: int
    rng: random.Random
    seen: list[str] = field(default_factory=list)

    def __call__(self, prompt: str) -> str:
        return REACT.write_step(self.step())

    @property
    def plans(self) -> list[tuple[PlannedRequest, bool]]:
        """All calls to be made; True marks the second try of one that fails."""
        return [(plan, again) for plan in self.request.calls for again in ((False, True) if plan.fault else (False,))]

    def step(self) -> Step:
        """The step that follows what was seen so far."""
        done = len(self.seen)
        if done == len(self.plans):
            if not self.request.calls:
                return Step(thought=self.request.thought, answer=self.request.answer)
            return Step(answer=self.closing())
        plan, again = self.plans[done]
        call = ToolCall(name=plan.offer.spec.name, arguments=plan.given(again))
        return Step(thought=self._again(plan) if again else self._thought(plan, done), calls=(call,))

    def _again(self, plan: PlannedRequest) -> str:
        return self._phrase(words.REPAIR if plan.fault == "date" else words.RETRY).format(name=plan.offer.spec.name)

    def _phrase(self, ways: Sequence[str]) -> str:
        return self.rng.choice(ways[: self.phrases])

    def _thought(self, plan: PlannedRequest, done: int) -> str:
        values = {own: str(value.given) for own, value in plan.values.items()}
        text = calling(self.thought, plan.offer, values)
        return self._phrase(words.THEN) + text if done and text else text

    def closing(self) -> str:
        """The final answer, out of what the tools answered."""
        answers = [text for text in self.seen if not text.startswith("Error:")]
        parts = [self._said(plan, text) for plan, text in zip(self.request.calls, answers, strict=True)]
        return ("" if self.request.lang == "zh" else " ").join(parts)

    def _said(self, plan: PlannedRequest, text: str) -> str:
        fields = json.loads(text)
        if isinstance(fields.get("result"), list):
            fields["result"] = ", ".join(fields["result"])
        says = plan.offer.card.says_zh if self.request.lang == "zh" else plan.offer.card.says
        said = self._phrase(says).format(**{**{own: value.shown for own, value in plan.values.items()}, **fields})
        said = said[0].upper() + said[1:]
        return said if said[-1] in ".?!。" else f"{said}."


class Runner:
    """Runs requests; what is the same for all of them is made once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.rng = random.Random(f"answers {recipe.seed}")

    def run(self, request: Request, offers: Sequence[Offer], system: str) -> Trajectory:
        """The finished trajectory. An unexpected failure of a tool is an assertion: expert and tools are ours."""
        expert = Expert(request, self.recipe.thought, self.recipe.phrases, self.rng)
        faults = {plan.offer.card.id: plan.fault for plan in request.calls}
        toolbox = Toolbox([answering(offer.tool, faults.get(offer.card.id, "")) for offer in offers], inline=True)
        start = Trajectory(system=system, tools=toolbox.specs, rounds=(Round(user=request.user),))
        model = ScriptedModel(expert)
        template = templates.load("auto", model.tokenizer)
        agent = Agent(model=model, template=template, protocol=REACT, toolbox=toolbox, sampling=LIMITS, options=STRICT, guards=None)
        for event in react.run(start, agent):
            if isinstance(event, ToolAnswered):
                assert any(faults.values()) or not event.observation.error, (event.call, event.observation)
                expert.seen.append(event.observation.text)
            if isinstance(event, RunFinished):
                assert event.stop == "answer" and len(expert.seen) == len(expert.plans), (event.stop, event.trajectory)
                return event.trajectory
        raise AssertionError("the run did not finish")
