"""From a client's messages to the ids that the model was trained on, and from its words to a step: the card's protocol and template."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agenttune.agent.constrain import CallGrammar
from agenttune.agent.history import generated_ids, verbatim
from agenttune.agent.step import StepOptions, bounded, read
from agenttune.data.render import prompt_ids
from agenttune.errors import Refusal, UserError
from agenttune.models.base import Model
from agenttune.protocols.base import Protocol, read_think, write
from agenttune.serving.errors import ApiError
from agenttune.serving.requests import ChatRequest
from agenttune.serving.template_options import OptionedTemplates
from agenttune.templates import Template
from agenttune.values.tokens import Completion, SamplingParams
from agenttune.values.trajectory import JsonObject, Step, ToolCall, ToolSpec, Trajectory

LETTERS = 64  # a token of any tokenizer stands for fewer characters on average; more need not be encoded to know that they do not fit


@dataclass(slots=True)
class SaidCalls:
    """Steps of this server's own, by the ids of their calls: a client sends the calls back, and the model finds its own words again."""

    most: int = 10_000
    _steps: OrderedDict[str, Step] = field(default_factory=OrderedDict)

    def keep(self, ids: Sequence[str], step: Step) -> None:
        """Remembers the step that the calls of these ids were made in."""
        for one in ids:
            self._steps[one] = step
        while len(self._steps) > self.most:
            self._steps.popitem(last=False)

    def find(self, step: Step) -> Step:
        """The step in the model's own words, where the calls are still what it said; else `step` as the client sent it."""
        calls = [call for call in step.calls if isinstance(call, ToolCall)]
        own = self._steps.get(calls[0].id) if calls else None
        if own is None or [_bare(call) for call in calls] != [_bare(call) for call in own.calls if isinstance(call, ToolCall)]:
            return step
        return replace(own, observations=step.observations, calls=step.calls, weight=step.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """How one model is spoken to: what its card says, and what it said before. `rungs` (of `agent.ladder`) read what no grammar held."""

    model: Model
    template: Template
    protocol: Protocol
    memory: SaidCalls = field(default_factory=SaidCalls)
    rungs: tuple[str, ...] = ()
    forms: OptionedTemplates = field(default_factory=OptionedTemplates)

    def under(self, options: JsonObject) -> Speaker:
        """The same speaker with its template told these options. Raises `ApiError`."""
        if not options:
            return self
        card = self.model.card
        trained = card.template_options if card is not None else {}
        return replace(self, template=self.forms.get(self.template, self.model.tokenizer, self.protocol, trained, options))

    def prompt(self, request: ChatRequest) -> list[int]:
        """The ids of a conversation, ready for the model's next words. Raises `ApiError`."""
        trajectory = self._own_words(request.trajectory)
        if request.choice == "none":
            trajectory = replace(trajectory, tools=())
        self._refuse_long(len(trajectory.system) + sum(len(one.user) for one in trajectory.rounds))
        try:
            sample = write(verbatim(trajectory), self.protocol)
        except Refusal as error:
            raise ApiError(400, f"messages: {error.sentence}", param="messages") from error
        self._refuse_long(sum(len(one.system) + len(one.input) + len(one.output) for one in sample.turns))
        outputs = generated_ids(trajectory, self.protocol)
        try:
            ids = prompt_ids(sample, self.template, self.model.tokenizer, outputs=outputs)
        except Refusal as error:
            raise ApiError(400, f"messages: {error.sentence}", param="messages") from error
        return self._fitting(ids)

    def text_prompt(self, prompt: str | Sequence[int]) -> list[int]:
        """The ids of a raw text, with the special tokens that are written in it; or ids as they are given. Raises `ApiError`."""
        if isinstance(prompt, str):
            self._refuse_long(len(prompt))
            return self._fitting(self.model.tokenizer.encode(prompt, special=True))
        return self._fitting(list(prompt))

    def sampling(self, asked: SamplingParams) -> SamplingParams:
        """`asked`, stopped also where the template and the protocol stop."""
        return bounded(asked, self.template, self.protocol)

    def grammar(self, request: ChatRequest) -> CallGrammar | None:
        """What the reply may hold: calls of offered tools with arguments that fit; a call or a form of answer where one is asked for.

        None where there is nothing to hold to, or where this tokenizer allows no grammar and nothing was required. Raises `ApiError`.
        """
        tools = () if request.choice == "none" else request.trajectory.tools
        choice = "none" if request.schema is not None else request.tool or ("auto" if request.choice == "none" else request.choice)
        several = request.parallel and not request.tool
        options = StepOptions(constrain=True, tool_choice=choice, answer_schema=request.schema, several=several)
        try:
            return options.grammar(self.protocol, tools, self.model)
        except UserError as error:
            if choice == "auto":
                return None
            raise ApiError(400, str(error), param="tool_choice") from error

    def step(self, completion: Completion, tools: Sequence[ToolSpec]) -> Step:
        """What was said, as a step; `tools` are those that were offered."""
        return read(completion, self.protocol, self.template, tools, self.rungs)

    def _own_words(self, trajectory: Trajectory) -> Trajectory:
        rounds = tuple(replace(one, steps=tuple(self.memory.find(self._thought(step)) for step in one.steps)) for one in trajectory.rounds)
        return replace(trajectory, rounds=rounds)

    def _thought(self, step: Step) -> Step:
        """Under a protocol whose thoughts travel as reasoning, the reasoning of a message is the thought it was made of."""
        if self.protocol.thought_channel == "content" or not step.reasoning:
            return step
        reasoning, start = read_think(step.reasoning)
        if reasoning:
            return replace(step, reasoning=reasoning, thought=step.reasoning[start:] or step.thought)
        return replace(step, reasoning="", thought=step.reasoning)

    def _refuse_long(self, letters: int) -> None:
        if letters > LETTERS * self.model.context:
            raise _too_long(f"more than {self.model.context:,}", self.model.context)

    def _fitting(self, ids: list[int]) -> list[int]:
        if len(ids) >= self.model.context:
            raise _too_long(f"{len(ids):,}", self.model.context)
        if not ids:
            raise ApiError(400, "the prompt is empty", param="prompt")
        return ids


def _bare(call: ToolCall) -> ToolCall:
    return replace(call, id="")


def _too_long(tokens: str, context: int) -> ApiError:
    sentence = f"this model's context is {context:,} tokens, and the prompt has {tokens}; send less"
    return ApiError(400, sentence, code="context_length_exceeded", param="messages")
