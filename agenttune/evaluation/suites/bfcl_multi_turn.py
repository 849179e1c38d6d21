"""BFCL's multi-turn categories: whole conversations whose tools really run, judged by what they leave behind.

As ``base_handler.py`` of bfcl-eval 2026.3.23 holds them: a turn goes on until a reply calls nothing or cannot be read, and ends the whole
conversation after more than 20 steps. Functions that are held back come in a user's message with the text that prompted models get.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agenttune import protocols
from agenttune.agent.history import generated_ids, verbatim
from agenttune.agent.toolbox.workers.process import DeadlineExceeded, ProcessEnded
from agenttune.evaluation.bfcl import conversations, wheel
from agenttune.evaluation.bfcl.conversations import MultiTurnItem, Worlds, is_error, read_conversations
from agenttune.evaluation.predict import Prompt, Talker
from agenttune.evaluation.score import outcome_of
from agenttune.evaluation.trajectory_metrics import excess_steps, invented_observations, recovered, repeated_after_error, steps_of
from agenttune.protocols.base import Protocol, write
from agenttune.values.case import Case, Score
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, Trajectory

MAX_STEPS = 20  # of one turn


@dataclass(slots=True, kw_only=True)
class HeldItem:
    """One conversation as it grows: its trajectory, and the calls that ran, turn by turn."""

    item: MultiTurnItem
    trajectory: Trajectory
    turns: list[list[ToolCall]] = field(default_factory=lambda: [[]])

    @property
    def stop(self) -> str:
        """Why it ended; empty while it goes on."""
        return self.trajectory.stop

    def prompt(self, protocol: Protocol) -> Prompt:
        """What is asked next."""
        return Prompt(key=self.item.id, sample=write(verbatim(self.trajectory), protocol), outputs=generated_ids(self.trajectory, protocol))

    def take(self, step: Step, worlds: Worlds) -> None:
        """Takes a step: runs its calls, goes on to the next turn where there are none to run, or ends."""
        if step.outcome in ("infra_error", "context"):
            self.trajectory = replace(self.trajectory, stop=step.outcome)
            return
        self.trajectory = self.trajectory.with_step(step)
        calls = [call for call in step.calls if isinstance(call, ToolCall)]
        if step.usable and calls and len(calls) == len(step.calls):
            self._run(calls, worlds)
        else:
            self._next_turn()

    def _next_turn(self) -> None:
        done = len(self.trajectory.rounds)
        if done == len(self.item.users):
            self.trajectory = replace(self.trajectory, stop="answer")
            return
        self.trajectory = replace(self.trajectory, rounds=(*self.trajectory.rounds, Round(user=self.item.users[done])))
        self.turns.append([])

    def _run(self, calls: Sequence[ToolCall], worlds: Worlds) -> None:
        before = [call for turn in self.turns for call in turn]
        try:
            answers = worlds.replay(self.item, [*before, *calls], len(calls))
            self.turns[-1] += calls
        except (DeadlineExceeded, ProcessEnded):  # these calls are as if they had not been made
            answers = [f"Error during execution: {call.name} took longer than {conversations.DEADLINE:g} s" for call in calls]
        seen = [Observation(text=text, call_id=call.id, error=is_error(text)) for text, call in zip(answers, calls, strict=True)]
        self.trajectory = self.trajectory.with_observations(seen)
        if sum(bool(step.calls) for step in self.trajectory.rounds[-1].steps) > MAX_STEPS:
            self.trajectory = replace(self.trajectory, stop="max_steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiTurn:
    """Some multi-turn categories; after `read`, what holding and judging each conversation needs."""

    categories: tuple[str, ...]
    items: dict[str, MultiTurnItem] = field(default_factory=dict)

    def read(self, path: Path, protocol: str | None) -> Iterator[Case]:
        """A case an item: its first prompt. The wheel's files are found by themselves: `path` only names them."""
        spoken, folder = protocols.get(protocol or "hermes"), wheel.data_folder()
        for category in self.categories:
            for item in read_conversations(folder, category):
                self.items[item.id] = item
                yield Case(
                    id=item.id,
                    sample=write(_opened(item), spoken),
                    clusters=("+".join(item.classes), _question(item.id)),
                    tags={"category": category, "kind": "conversation"},
                )

    @property
    def answers_hash(self) -> str:
        """A hash of the worlds and what is right in them."""
        return hashlib.sha256(repr([(one.id, one.world, one.gold) for one in self.items.values()]).encode()).hexdigest()

    def hold(self, talk: Talker) -> Callable[[Sequence[Case]], list[Score]]:
        """Holds each conversation of a batch, side by side, and judges it."""
        worlds = Worlds(wheel.module_path(wheel.data_folder()))

        def scores(cases: Sequence[Case]) -> list[Score]:
            talks = [HeldItem(item=self.items[case.id], trajectory=_opened(self.items[case.id])) for case in cases]
            protocol = protocols.get(cases[0].sample.protocol)
            while going := [one for one in talks if not one.stop]:
                for one, step in zip(going, talk([one.prompt(protocol) for one in going]), strict=True):
                    one.take(step, worlds)
            return [judged(case, one, worlds) for case, one in zip(cases, talks, strict=True)]

        return scores


def _opened(item: MultiTurnItem) -> Trajectory:
    return Trajectory(id=item.id, tools=item.tools, rounds=(Round(user=item.users[0]),))


def _question(name: str) -> str:
    """The four categories ask variants of the same 200 questions."""
    return f"question {name.rsplit('_', 1)[-1]}"


def judged(case: Case, talk: HeldItem, worlds: Worlds) -> Score:
    """A finished conversation: the wheel's verdict as ``bfcl_compat``, ours as ``success``.

    Ours also wants every reply to be readable, and no call in a turn whose gold has none: the wheel looks at neither.
    """
    steps = steps_of(talk.trajectory)
    reason = "force_terminated" if talk.stop != "answer" else worlds.judge(talk.item, talk.turns)
    readable = all(outcome_of(step, talk.item.tools) in ("call_ok", "final") for step in steps)
    quiet = [bool(turn) for turn, gold in zip(talk.turns, talk.item.gold, strict=False) if not gold]
    ours = reason if reason != "ok" else "malformed" if not readable else "called" if any(quiet) else "ok"
    counts = {
        "success": (float(ours == "ok"), 1.0),
        "bfcl_compat": (float(reason == "ok"), 1.0),
        "invented_observation": invented_observations(steps),
        "recovered": recovered(talk.trajectory),
        "repeated_after_error": repeated_after_error(talk.trajectory),
        "needless_call": (float(sum(quiet)), float(len(quiet))),
    }
    if ours == "ok":
        counts["excess_steps"] = excess_steps(sum(map(len, talk.turns)), sum(map(len, talk.item.gold)))
    return Score(
        case=case.id,
        valid=readable and talk.stop == "answer",
        tool=None,
        arguments=None,
        call=None,
        abstained=None,
        reason=ours,
        outcome="infra_error" if talk.stop == "infra_error" else "",
        output="\n".join(step.raw for step in steps),
        stop=talk.stop,
        tokens=sum(len(step.token_ids) for step in steps),
        tags=dict(case.tags),
        clusters=case.clusters,
        counts=counts,
    )
