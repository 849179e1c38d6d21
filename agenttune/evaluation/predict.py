"""A model's steps for cases: prompts rendered once, asked in one batch, and kept so that no other run asks again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agenttune import protocols
from agenttune.data.render import prompt_ids
from agenttune.errors import Refusal, UserError
from agenttune.evaluation.generation_cache import GenerationCache, key_of_prompt
from agenttune.values.case import Case
from agenttune.values.sample import Sample
from agenttune.values.tokens import Completion, SamplingParams
from agenttune.values.trajectory import Step

if TYPE_CHECKING:
    from agenttune.agent.constrain import CallGrammar
    from agenttune.agent.decode import Session
    from agenttune.models.base import Model
    from agenttune.templates import Template
    from agenttune.values.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Generating:
    """Progress: the model has written so many characters for the batch that it works at."""

    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The prompt of each case, by its id, and one hash of all of them."""

    ids: Mapping[str, Sequence[int]]
    hash: str

    @property
    def lengths(self) -> dict[str, int]:
        """Tokens of each case's prompt."""
        return {name: len(one) for name, one in self.ids.items()}


def render_prompts(cases: Iterable[Case], template: Template, tokenizer: Tokenizer) -> Prompts:
    """The prompts that `ModelPredictor` sends, by training's renderer. Raises `UserError` for a case that the template cannot carry."""
    found: dict[str, Sequence[int]] = {}
    digest = hashlib.sha256()
    for case in cases:
        try:
            found[case.id] = prompt_ids(case.sample, template, tokenizer)
        except Refusal as error:
            raise UserError(f'the template "{template.name}" cannot carry the case {case.id}: {error}; name another') from error
        digest.update(repr((case.id, found[case.id])).encode())
    return Prompts(ids=found, hash=digest.hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One prompt in a conversation: its sample, its ids, and the session that remembers what was read of it before."""

    sample: Sample
    ids: Sequence[int]
    session: Session | None = None


@dataclass(slots=True, kw_only=True)
class Work:
    """What a model did for a run: replies that it made and that were known, tokens and forward passes (of a batch, counted once).

    `waits` holds for each batch its replies and the seconds that they took.
    """

    generated: int = 0
    from_cache: int = 0
    prompt_tokens: int = 0
    prefilled_tokens: int = 0
    output_tokens: int = 0
    forward_passes: int = 0
    waits: list[tuple[int, float]] = field(default_factory=list)

    def add(self, made: Sequence[Completion], seconds: float) -> None:
        """Counts the completions of one batch."""
        self.waits.append((len(made), seconds))
        self.generated += len(made)
        self.prompt_tokens += sum(one.prompt_tokens for one in made)
        self.prefilled_tokens += sum(one.prefilled_tokens for one in made)
        self.output_tokens += sum(len(one.token_ids) for one in made)
        self.forward_passes += max((one.forward_passes for one in made), default=0)

    def latency(self) -> dict[str, float]:
        """Seconds that a reply waited for its batch, median and 95th percentile, and the largest batch; without the first of several
        batches, which warms caches up."""
        batches = self.waits[1:] or self.waits
        seconds = sorted(took for rows, took in batches for _ in range(rows))
        if not seconds:
            return {}
        median, high = (round(seconds[min(len(seconds) - 1, len(seconds) * part // 100)], 3) for part in (50, 95))
        return {"median": median, "p95": high, "largest_batch": max(rows for rows, _ in batches)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPredictor:
    """Takes the steps of cases by a model. With `constrain` a call can only be one of an offered tool with arguments that fit its schema.

    `prompts` are those of the cases, where they were rendered before. With a `cache`, `decides` must say all that decides a reply but
    the prompt: the weights, the adapter, the tokenizer, the suite. A prompt that fills the context has the outcome ``context``.
    """

    model: Model
    template: Template
    sampling: SamplingParams
    constrain: bool = False
    prompts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    cache: GenerationCache | None = None
    decides: Mapping[str, Any] = field(default_factory=dict)
    events: Callable[[Generating], None] | None = None
    work: Work = field(default_factory=Work)

    def __call__(self, cases: Sequence[Case]) -> list[Step]:
        """A step for each case."""
        return self.take([Asked(sample=case.sample, ids=self._ids(case)) for case in cases])

    def _ids(self, case: Case) -> Sequence[int]:
        return self.prompts.get(case.id) or prompt_ids(case.sample, self.template, self.model.tokenizer)

    def take(self, asked: Sequence[Asked]) -> list[Step]:
        """A step for each prompt, all of one protocol."""
        from agenttune.agent.step import StepOptions, bounded, grammars_of, steps_of

        protocol = protocols.get(asked[0].sample.protocol)
        bounds = bounded(self.sampling, self.template, protocol)
        samples, ways = [one.sample for one in asked], [StepOptions(constrain=self.constrain)] * len(asked)
        grammars = grammars_of(protocol, samples, ways, self.model)
        keys = self._keys(asked, bounds) if self.cache is not None else [str(at) for at in range(len(asked))]
        said = self.cache.get(keys) if self.cache is not None else {}
        self.work.from_cache += len(said)
        new = [at for at, key in enumerate(keys) if key not in said]
        if new:
            made = self._decode([asked[at] for at in new], bounds, [grammars[at] for at in new])
            made_by_key = dict(zip((keys[at] for at in new), made, strict=True))
            if self.cache is not None:
                self.cache.put(made_by_key)
            said |= made_by_key
        return steps_of([said[key] for key in keys], samples, self.template, grammars, ways)

    def _decode(self, asked: Sequence[Asked], bounds: SamplingParams, grammars: Sequence[CallGrammar | None]) -> list[Completion]:
        from agenttune.agent.decode import decode

        written = 0

        def on_text(_: int, text: str) -> None:
            nonlocal written
            written += len(text)
            if self.events is not None:
                self.events(Generating(characters=written))

        sessions = [one.session for one in asked]
        started = time.perf_counter()
        made = decode(self.model, [one.ids for one in asked], bounds, sessions=sessions, grammars=grammars, on_text=on_text)
        self.work.add(made, time.perf_counter() - started)
        return made

    def _keys(self, asked: Sequence[Asked], bounds: SamplingParams) -> list[str]:
        """What decides each reply: what `decides` says, the decoding, the constraint with the tools it holds calls to, and the prompt."""
        decoding = (bounds.max_new_tokens, bounds.temperature, bounds.stops, sorted(bounds.stop_ids), repr(bounds))
        shared = {**self.decides, "template": self.template.name, "decoding": repr(decoding), "constrain": self.constrain}
        return [
            key_of_prompt({**shared, "protocol": one.sample.protocol, "tools": repr(one.sample.tools) if self.constrain else ""}, one.ids)
            for one in asked
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a conversation asks next: the sample so far, and by turn the ids that the model itself made. `key` names the conversation."""

    key: str
    sample: Sample
    outputs: Mapping[int, Sequence[int]] = field(default_factory=dict)


Talker = Callable[[Sequence[Prompt]], list[Step]]  # the next step of several conversations at once


def model_talker(predict: ModelPredictor) -> Talker:
    """The next steps by a model, which reads again nothing of a conversation that it has read in the call before."""
    from agenttune.agent.decode import Session

    sessions: dict[str, Session] = {}
    tokenizer = predict.model.tokenizer

    def talk(prompts: Sequence[Prompt]) -> list[Step]:
        for key in sessions.keys() - {one.key for one in prompts}:  # that conversation is over
            del sessions[key]
        asked = []
        for one in prompts:
            try:
                ids = prompt_ids(one.sample, predict.template, tokenizer, outputs=one.outputs)
            except Refusal as error:
                raise UserError(f'the template "{predict.template.name}" cannot carry the conversation {one.key}: {error}') from error
            asked.append(Asked(sample=one.sample, ids=ids, session=sessions.setdefault(one.key, Session(predict.model))))
        return predict.take(asked)

    return talk
