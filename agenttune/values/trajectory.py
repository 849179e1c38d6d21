"""A trajectory: what a user asked, what a model thought and called, what tools answered. A run and a training example are both one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

Json: TypeAlias = Any  # None | bool | int | float | str | list[Json] | dict[str, Json]
JsonObject: TypeAlias = Mapping[str, Json]


def _no_parameters() -> JsonObject:
    return {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as the model sees it: its name, one description, and the JSON Schema (an object schema) of its parameters."""

    name: str
    description: str = ""
    parameters: JsonObject = field(default_factory=_no_parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call: the tool's name and its arguments, a JSON object. `id` pairs it with an observation where calls are parallel."""

    name: str
    arguments: JsonObject
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """What a model wrote where a call or an answer belongs, when it cannot be read: the raw text, and why."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a tool answered. `error` marks a failure. `provenance` says whose words it holds: the tool's own, the user's (a call that was
    stopped or forbidden), or the open web's, where strangers write."""

    text: str
    call_id: str = ""
    error: bool = False
    provenance: Literal["tool", "user", "web"] = "tool"

    @property
    def trusted(self) -> bool:
        """Whether no stranger can have written it."""
        return self.provenance != "web"


UNUSABLE = frozenset(("malformed", "truncated", "context", "infra_error"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One turn of the model: it calls tools (then `observations` answer, in the order of `calls`) or it answers.

    `weight` 0 keeps the step as context only. `token_ids`, `raw`, `outcome` and `repairs` are set when a model made the step.
    `outcome` is ``call``, ``final`` (an answer), ``forced`` (an answer that a limit asked for), ``fabricated_observation`` (it went on
    to invent a tool's answer, which was cut off), ``malformed``, ``truncated`` (at the limit of new tokens), ``context`` (no room is
    left), or ``edited`` (a person wrote another answer in its place). `repairs` names the rungs of `agent.ladder` that were needed to
    read it, and ``constrained`` where the grammar took another token than the likeliest.
    `observations` is shorter than `calls` where nobody answered. `alternatives` are other steps that count as right in its place;
    they are not trained, and evaluation accepts them.
    """

    reasoning: str = ""
    thought: str = ""
    calls: tuple[ToolCall | Malformed, ...] = ()
    observations: tuple[Observation, ...] = ()
    answer: str | None = None
    weight: float = 1.0
    token_ids: tuple[int, ...] = ()
    raw: str = ""
    outcome: str = ""
    repairs: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a model's step is whole and can be read: its calls may run, its answer may be shown."""
        return self.outcome not in UNUSABLE

    alternatives: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One user message and the steps it led to (none, if nobody answered).

    Set where a model answered: `stop`, why it ended, in the words of `Trajectory.stop`; `answered_by`, the model and its adapter.
    `verdict` is what a person thought of it, ``good`` or ``bad``, and `comment` why.
    """

    user: str
    steps: tuple[Step, ...] = ()
    stop: str = ""
    answered_by: str = ""
    verdict: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """A whole conversation. `system` is the system text verbatim without its tool list, which is in `tools`.

    `group` names the scenario or tool set it shares with others (a split never separates a group). `stop` says why a run ended
    (``"answer"``, ``"max_steps"``, …), empty for recorded data. `notes` names every change a reader had to make.
    `model`, `adapter`, `protocol` and `template` say what it was made with, where a model made it: enough to go on with it.
    """

    id: str = ""
    file: str = ""
    line: int = 0
    group: str = ""
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    rounds: tuple[Round, ...] = ()
    stop: str = ""
    notes: tuple[str, ...] = ()
    model: str = ""
    adapter: str = ""
    protocol: str = ""
    template: str = ""

    def steps(self) -> Iterator[Step]:
        """The steps of all rounds, in order."""
        for round_ in self.rounds:
            yield from round_.steps

    def with_question(self, text: str) -> Trajectory:
        """The trajectory with one more round, which nobody has answered yet."""
        return replace(self, rounds=(*self.rounds, Round(user=text)), stop="")

    def with_step(self, step: Step) -> Trajectory:
        """The trajectory with one more step in its last round."""
        return self._with_last_steps((*self.rounds[-1].steps, step))

    def with_observations(self, seen: Sequence[Observation]) -> Trajectory:
        """The trajectory with more observations of its last step's calls."""
        *before, last = self.rounds[-1].steps
        return self._with_last_steps((*before, replace(last, observations=(*last.observations, *seen))))

    def _with_last_steps(self, steps: tuple[Step, ...]) -> Trajectory:
        return replace(self, rounds=(*self.rounds[:-1], replace(self.rounds[-1], steps=steps)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A record that could not be used: where it stood, a reason code, one sentence, and the raw record (or its text)."""

    file: str
    line: int
    code: str
    sentence: str
    record: Json
    id: str = ""
    excerpt: str = ""
