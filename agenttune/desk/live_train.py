"""The training records of whole conversations: every call is run, every answer's value is copied from what was observed.

What is asked is about made-up articles (live_world.py) or numbers (live_typing.py); the thought before an answer quotes the
sentence that holds it, the thought before a call fills in the tool's own line, as in the one-step records.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from agenttune.desk import live_computed, live_several, live_single
from agenttune.desk.live_maker import LiveMaker
from agenttune.desk.live_talk import Talk
from agenttune.desk.recipe import Recipe
from agenttune.values.trajectory import Trajectory

PER_WORLD = 24  # records that share one set of articles and four tool lists

KINDS: Mapping[str, Callable[[LiveMaker], Talk]] = {
    "sums": live_single.sums,
    "facts": live_single.facts,
    "computed": live_computed.computed,
    "chinese": live_single.chinese,
    "talk": live_single.talk,
    "declines": live_single.declines,
    "missing": live_several.missing,
    "follow": live_several.follow,
    "retry": live_several.retry,
    "other": live_single.other,
}


def train_trajectories(recipe: Recipe) -> tuple[Sequence[Trajectory], Counter[str]]:
    """The conversations, in the recipe's share of all training records, and what they are."""
    maker = LiveMaker(recipe)
    count = round(recipe.requests * recipe.live / (1 - recipe.live)) if recipe.live < 1 else recipe.requests
    return list(_conversations(maker, count)), Counter({f"kind {name}": number for name, number in maker.counted.items()})


def _conversations(maker: LiveMaker, count: int) -> Iterator[Trajectory]:
    """`count` finished ones."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            if number % PER_WORLD == 0:
                maker.begin_world(Path(folder) / f"{number}.sqlite")
            yield _conversation(maker, number)


def _conversation(maker: LiveMaker, number: int) -> Trajectory:
    kind = maker.kinds.draw()
    maker.counted[kind] += 1
    talk = KINDS[kind](maker)
    return Trajectory(
        id=f"live_{number:05d}",
        group=f"live_{number // PER_WORLD}",
        system=talk.listed.system,
        tools=tuple(one.spec for one in talk.listed.tools),
        rounds=tuple(talk.rounds),
        stop="answer",
    )
