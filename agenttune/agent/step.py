"""One prompt to one step: render, decode, parse. What cannot be read stays as it is, and says so; nothing is repaired here.

The repair ladder (a balanced bracket, a value's type, the nearest name, one constrained decode of the call alone) belongs
between `decode` and `read`; each rung will have a name that the step's outcome carries.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agenttune import protocols
from agenttune.agent.constrain import CallGrammar
from agenttune.agent.decode import Session, stream
from agenttune.agent.events import drain
from agenttune.data.render import prompt_ids
from agenttune.models.base import Model
from agenttune.protocols.base import Protocol
from agenttune.templates import Template
from agenttune.values.sample import Sample
from agenttune.values.tokens import Completion, SamplingParams, Tokenizer
from agenttune.values.trajectory import JsonObject, Malformed, Step, ToolSpec

Outcome = Literal["ok", "malformed", "length", "context"]
Outputs = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How a step is taken.

    With `constrain` a call can only be one of an offered tool with arguments that fit its schema. `tool_choice` is ``auto``,
    ``required`` (a call must come), ``none`` (an answer must come) or a tool's name (that call must come); all but ``auto`` are
    constrained in any case. `answer_schema` is a JSON Schema for the answer, under ``none``.
    """

    constrain: bool = False
    tool_choice: str = "auto"
    answer_schema: JsonObject | None = None

    def grammar(self, protocol: Protocol, tools: Sequence[ToolSpec], tokenizer: Tokenizer) -> CallGrammar | None:
        """What an output may hold; None where it is free. Raises `UserError` for a `tool_choice` that is not offered."""
        if self.tool_choice == "auto" and not (self.constrain and tools):
            return None
        return CallGrammar(protocol, tools, tokenizer, choice=self.tool_choice, answer=self.answer_schema)


STRICT = StepOptions()


def take_step(
    model: Model,
    sample: Sample,
    template: Template,
    sampling: SamplingParams,
    *,
    session: Session | None = None,
    on_text: Callable[[str], None] | None = None,
    outputs: Outputs | None = None,
    options: StepOptions = STRICT,
) -> Step:
    """The step a model takes at the last turn of `sample`, whose output is empty.

    `outputs` gives, by turn, the ids that the model itself made there; they stand in the prompt in place of an encoding of the
    text. The step's `outcome` is ``ok``; ``malformed`` (a call or answer that cannot be read); ``length`` (cut at
    `max_new_tokens`, so a call in it must not be run); or ``context`` (cut, or nothing at all, because the context is full).
    """
    shown = (lambda number, text: on_text(text)) if on_text is not None else None
    return take_steps(model, [sample], template, sampling, sessions=[session], on_text=shown, outputs=[outputs], options=options)[0]


def take_steps(
    model: Model,
    samples: Sequence[Sample],
    template: Template,
    sampling: SamplingParams,
    *,
    sessions: Sequence[Session | None] | None = None,
    on_text: Callable[[int, str], None] | None = None,
    outputs: Sequence[Outputs | None] | None = None,
    options: StepOptions = STRICT,
) -> list[Step]:
    """`take_step` for several samples in one batch. They share one protocol, whose stops apply to all."""
    tell = None if on_text is None else lambda new: on_text(*new)
    return drain(stream_steps(model, samples, template, sampling, sessions=sessions, outputs=outputs, options=options), tell)


def stream_steps(
    model: Model,
    samples: Sequence[Sample],
    template: Template,
    sampling: SamplingParams,
    *,
    sessions: Sequence[Session | None] | None = None,
    outputs: Sequence[Outputs | None] | None = None,
    options: StepOptions = STRICT,
) -> Generator[tuple[int, str], None, list[Step]]:
    """`take_steps` as a generator: yields (sample's number, new text) and returns the steps."""
    protocol = protocols.get(samples[0].protocol)
    assert all(sample.protocol == protocol.name for sample in samples)
    given = [None] * len(samples) if outputs is None else outputs
    prompts = [prompt_ids(sample, template, model.tokenizer, outputs=made) for sample, made in zip(samples, given, strict=True)]
    grammars = [options.grammar(protocol, sample.tools, model.tokenizer) for sample in samples]
    completions = yield from stream(model, prompts, bounded(sampling, template, protocol), sessions=sessions, grammars=grammars)
    return [read(one, protocol, template) for one in completions]


def bounded(sampling: SamplingParams, template: Template, protocol: Protocol) -> SamplingParams:
    """`sampling` that also stop where the template's output ends and where the protocol's does."""
    stops = (*sampling.stops, *template.stops, *protocol.stops)
    return replace(sampling, stops=tuple(dict.fromkeys(stops)), stop_ids=sampling.stop_ids | template.stop_ids)


def read(completion: Completion, protocol: Protocol, template: Template | None = None) -> Step:
    """What was said, as a step with its ids, raw text and outcome. One that is not ``ok`` is never trained on: its weight is 0."""
    text = template.read(completion.text) if template is not None else completion.text
    step = protocol.parse(text)
    outcome: Outcome = "ok"
    if completion.stop == "context":
        outcome = "context"
    elif completion.stop == "length":
        outcome = "length"
    elif any(isinstance(call, Malformed) for call in step.calls):
        outcome = "malformed"
    weight = 1.0 if outcome == "ok" else 0.0
    return replace(step, token_ids=completion.token_ids, raw=text, outcome=outcome, weight=weight)
