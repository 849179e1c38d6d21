"""One prompt to one step: render, decode, parse, and where that is allowed, the repair ladder. What cannot be read says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from agenttune import protocols
from agenttune.agent.constrain import CallGrammar, tokens_before
from agenttune.agent.decode import Session, decode, stream
from agenttune.agent.events import drain
from agenttune.agent.ladder import CONSTRAINED, REDECODED, RUNGS, VALIDATED, fits, repaired
from agenttune.data.render import prompt_ids
from agenttune.errors import Refusal, UserError
from agenttune.models.base import Model
from agenttune.protocols.base import Protocol
from agenttune.templates import Template
from agenttune.values.sample import Sample
from agenttune.values.tokens import Completion, SamplingParams
from agenttune.values.trajectory import JsonObject, Malformed, Step, ToolCall, ToolSpec

Outputs = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How a step is taken.

    `repairs` are the rungs of `agent.ladder` that may read a reply which breaks the rules; without them nothing is repaired.
    With `constrain` a call can only be one of an offered tool with arguments that fit its schema. `tool_choice` is ``auto``,
    ``required`` (a call must come), ``none`` (an answer must come) or a tool's name (that call must come); all but ``auto`` are
    constrained in any case. `answer_schema` is a JSON Schema for the answer, under ``none``. Without `several` a constrained reply ends
    with its first call.
    """

    constrain: bool = False
    repairs: tuple[str, ...] = ()
    tool_choice: str = "auto"
    answer_schema: JsonObject | None = None
    several: bool = True

    def grammar(self, protocol: Protocol, tools: Sequence[ToolSpec], model: Model) -> CallGrammar | None:
        """What an output of `model` may hold; None where it is free. Raises `UserError` for a `tool_choice` that is not offered."""
        if self.tool_choice == "auto" and not (self.constrain and tools):
            return None
        syntax = protocol.call_syntax
        if syntax.tagged and not syntax.tags:
            if self.tool_choice == "auto":
                return None
            raise UserError(f"{protocol.name} cannot be held to a call or an answer; leave tool_choice out")
        orders = known_orders(model)
        form, several = self.answer_schema, self.several
        return CallGrammar(protocol, tools, model.tokenizer, choice=self.tool_choice, answer=form, orders=orders, several=several)


def known_orders(model: Model) -> Mapping[str, Sequence[Sequence[str]]]:
    """In which orders the model's training data names the arguments of a tool, by tool; empty without a card."""
    return model.card.argument_orders if model.card is not None else {}


STRICT = StepOptions()
RELIABLE = StepOptions(constrain=True, repairs=RUNGS)


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
    text. The step's `outcome` is told by `Step`: a call in one that is not `Step.usable` must not be run.
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
    options: StepOptions | Sequence[StepOptions] = STRICT,
) -> list[Step]:
    """`take_step` for several samples in one batch, with `options` for all or one each; all share one protocol and its stops."""
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
    options: StepOptions | Sequence[StepOptions] = STRICT,
) -> Generator[tuple[int, str], None, list[Step]]:
    """`take_steps` as a generator: yields (sample's number, new text) and returns the steps."""
    protocol = protocols.get(samples[0].protocol)
    assert all(sample.protocol == protocol.name for sample in samples)
    ways = [options] * len(samples) if isinstance(options, StepOptions) else options
    given = [None] * len(samples) if outputs is None else outputs
    try:
        prompts = [prompt_ids(sample, template, model.tokenizer, outputs=made) for sample, made in zip(samples, given, strict=True)]
    except Refusal as error:
        raise UserError(f"the chat template cannot carry this conversation: {error.sentence}") from error
    grammars = grammars_of(protocol, samples, ways, model)
    bounds = bounded(sampling, template, protocol)
    completions = yield from stream(model, prompts, bounds, sessions=sessions, grammars=grammars)
    steps = steps_of(completions, samples, template, grammars, ways)
    for at, step in enumerate(steps):
        if REDECODED not in ways[at].repairs or not _can_redecode(step, protocol, samples[at].tools):
            continue
        steps[at] = _redecode(model, prompts[at], step, samples[at].tools, template, protocol, bounds) or step
    return steps


def grammars_of(protocol: Protocol, samples: Sequence[Sample], ways: Sequence[StepOptions], model: Model) -> list[CallGrammar | None]:
    """The grammar of each sample; one for all neighbours that have the same tools and options."""
    made: list[CallGrammar | None] = []
    for at, (sample, way) in enumerate(zip(samples, ways, strict=True)):
        same = at > 0 and sample.tools == samples[at - 1].tools and way == ways[at - 1]
        made.append(made[-1] if same else way.grammar(protocol, sample.tools, model))
    return made


def steps_of(
    completions: Sequence[Completion],
    samples: Sequence[Sample],
    template: Template,
    grammars: Sequence[CallGrammar | None],
    ways: Sequence[StepOptions],
) -> list[Step]:
    """What was said after each sample as a step, held to its grammar; it may have been said long ago. Nothing is decoded again."""
    protocol = protocols.get(samples[0].protocol)
    read_by = zip(completions, samples, ways, strict=True)
    steps = [read(one, protocol, template, sample.tools, way.repairs) for one, sample, way in read_by]
    return [step if by is None else _held(step, one, by) for step, one, by in zip(steps, completions, grammars, strict=True)]


def _held(step: Step, completion: Completion, grammar: CallGrammar) -> Step:
    """The step as its grammar left it: one whose call it changed says so (a forced one says it by its outcome)."""
    if completion.refused and grammar.choice == "auto":
        step = replace(step, repairs=(CONSTRAINED, *step.repairs))
    return _validated(step, grammar)


def _validated(step: Step, grammar: CallGrammar) -> Step:
    """A call that its grammar could not hold to its schema is malformed where it does not fit: the model is told why, and calls again."""
    misfit = next(filter(None, (grammar.misfit(call) for call in step.calls if isinstance(call, ToolCall))), "")
    if not misfit or not step.usable:
        return step
    return replace(
        step, calls=(Malformed(text=step.raw, reason=misfit),), outcome="malformed", weight=0.0, repairs=(*step.repairs, VALIDATED)
    )


def _can_redecode(step: Step, protocol: Protocol, tools: Sequence[ToolSpec]) -> bool:
    """Whether a call was tried, and cannot be read or does not fit its tool."""
    if VALIDATED in step.repairs:  # the same grammar would let it pass again
        return False
    wrong = step.outcome == "malformed" or any(isinstance(call, ToolCall) and not fits(call, tools) for call in step.calls)
    return bool(tools) and wrong and step.outcome not in ("truncated", "context") and protocol.call_start(step.raw) is not None


def _redecode(
    model: Model,
    prompt: Sequence[int],
    step: Step,
    tools: Sequence[ToolSpec],
    template: Template,
    protocol: Protocol,
    sampling: SamplingParams,
) -> Step | None:
    """The step with its call decoded once more under the grammar: what was said before the call stays. None where that gives no call."""
    text = model.tokenizer.decode(step.token_ids)
    start = protocol.call_start(text)
    if start is None:
        return None
    kept, before = tokens_before(model.tokenizer, step.token_ids, text, start)
    grammar = CallGrammar(protocol, tools, model.tokenizer, before=before, orders=known_orders(model))
    head = step.token_ids[:kept]
    rest = replace(sampling, max_new_tokens=max(1, sampling.max_new_tokens - kept))
    (made,) = decode(model, [[*prompt, *head]], rest, grammars=[grammar])
    ids = (*head, *made.token_ids)
    again = read(replace(made, token_ids=ids, text=model.tokenizer.decode(ids)), protocol, template, tools)
    return replace(again, repairs=(*step.repairs, REDECODED)) if again.usable and again.calls else None


def bounded(sampling: SamplingParams, template: Template, protocol: Protocol) -> SamplingParams:
    """`sampling` that also stop where the template's output ends and where the protocol's does."""
    stops = (*sampling.stops, *template.stops, *protocol.stops)
    return replace(sampling, stops=tuple(dict.fromkeys(stops)), stop_ids=sampling.stop_ids | template.stop_ids)


def read(
    completion: Completion,
    protocol: Protocol,
    template: Template | None = None,
    tools: Sequence[ToolSpec] = (),
    rungs: Collection[str] = (),
) -> Step:
    """What was said, as a step with its ids, raw text and outcome, read with the help of the rungs allowed (see `agent.ladder`).

    One that is not usable is never trained on: its weight is 0.
    """
    text = template.read(completion.text) if template is not None else completion.text
    step = replace(protocol.parse(text), token_ids=completion.token_ids, raw=text)
    if completion.stop in ("length", "context"):
        return replace(step, outcome="context" if completion.stop == "context" else "truncated", weight=0.0)
    if rungs:
        step = repaired(step, protocol, tools, rungs)
    if any(isinstance(call, Malformed) for call in step.calls):
        return replace(step, outcome="malformed", weight=0.0)
    fabricated = completion.stop_text in protocol.stops
    return replace(step, outcome="fabricated_observation" if fabricated else "call" if step.calls else "final")
