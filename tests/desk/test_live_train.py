"""Training conversations: finished, copied from what was observed, in the shipped tools' own form, in the recipe's shares."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenttune.agent.toolbox.articles.index import read_articles
from agenttune.agent.toolbox.find import load
from agenttune.desk.checks import normal
from agenttune.desk.live_train import train_trajectories
from agenttune.desk.live_typing import filled, in_words, substituted, typed
from agenttune.desk.live_world import World
from agenttune.desk.recipe import Recipe
from agenttune.evaluation.live.cases import read
from agenttune.files import shipped
from agenttune.protocols.base import write
from agenttune.protocols.react import REACT
from agenttune.values.trajectory import Step, ToolCall, Trajectory

SHIPPED = {"calculator", "local_search"}


@pytest.fixture(scope="module")
def runs() -> Sequence[Trajectory]:
    made, counted = train_trajectories(Recipe(requests=400))
    assert sum(counted.values()) == len(made) == 600
    return made


def calls(steps: Sequence[Step]) -> list[ToolCall]:
    return [call for step in steps for call in step.calls if isinstance(call, ToolCall)]


def test_the_same_seed_gives_the_same_conversations_and_another_others() -> None:
    first, again, other = (train_trajectories(Recipe(requests=20, seed=seed))[0] for seed in (3, 3, 4))
    assert first == again != other


def test_every_round_ends_in_an_answer_and_can_be_written(runs: Sequence[Trajectory]) -> None:
    for run in runs:
        assert all(one.steps[-1].answer for one in run.rounds)
        assert write(run, REACT).turns[-1].output


def test_what_an_answer_says_was_observed_or_said(runs: Sequence[Trajectory]) -> None:
    told = 0
    for run in runs:
        for one in run.rounds:
            seen = " ".join([one.user, *(text.text for step in one.steps for text in step.observations)])
            figures = re.findall(r"\d[\d,]*(?:\.\d+)?", one.steps[-1].answer or "")
            ours = one.steps[0].thought.startswith(("To work out a sum.", "To look up a fact."))
            if ours and not re.search("about|约", one.steps[-1].answer or ""):
                assert all(figure in seen for figure in figures), (one.user, one.steps[-1].answer)
                told += len(figures)
    assert told > 200


def test_a_thought_quotes_the_sentence_that_was_observed(runs: Sequence[Trajectory]) -> None:
    quoted = 0
    for run in runs:
        for one in run.rounds:
            for before, step in zip(one.steps, one.steps[1:], strict=False):
                if step.answer and step.thought and before.observations and not before.observations[0].error:
                    sentence = step.thought.partition(": ")[2]
                    assert sentence in before.observations[0].text, (step.thought, before.observations[0].text)
                    quoted += 1
    assert quoted > 150


def test_the_value_in_the_thought_is_the_argument_of_the_call(runs: Sequence[Trajectory]) -> None:
    for run in runs:
        for step in (step for one in run.rounds for step in one.steps):
            (call,) = calls([step]) or [None]
            if call and step.thought.startswith(("To work out a sum.", "To look up a fact.")):
                ((name, value),) = call.arguments.items()
                assert step.thought.endswith(f'{{"{name}": {value}}}.')


def test_lists_and_system_texts_come_in_the_recipes_shares(runs: Sequence[Trajectory]) -> None:
    orders = Counter(tuple(one.name for one in run.tools) for run in runs)
    both = {order for order in orders if set(order) == SHIPPED}
    assert len(both) == 2
    shares = Counter("plain" if set(names) == SHIPPED else "beside" if set(names) > SHIPPED else "renamed" for names in orders.elements())
    assert 0.45 < shares["plain"] / len(runs) < 0.65
    assert shares["beside"] / len(runs) > 0.1 and shares["renamed"] / len(runs) > 0.2
    assert 0.35 < sum(not run.system for run in runs) / len(runs) < 0.65
    assert all(len(run.tools) <= 8 for run in runs)


def test_the_shipped_tools_stand_there_in_their_own_words(runs: Sequence[Trajectory]) -> None:
    own = {name: load(name)[0].spec for name in SHIPPED}
    seen = [tool for run in runs if {one.name for one in run.tools} >= SHIPPED for tool in run.tools if tool.name in SHIPPED]
    assert seen and all(tool == own[tool.name] for tool in seen)


def test_only_what_nothing_could_do_is_declined(runs: Sequence[Trajectory]) -> None:
    declined = [run for run in runs if "I have no tool" in (run.rounds[-1].steps[-1].answer or "")]
    assert declined and all({one.name for one in run.tools} == SHIPPED for run in declined)


def test_the_search_prints_what_the_shipped_tool_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(random.Random(5), tmp_path / "world.sqlite", 40, 12)
    monkeypatch.setenv("AGENTTUNE_SEARCH_DB", str(world.path))
    tool = load("local_search")[0]
    asked = [one.query for topic in world.topics for one in topic.questions]
    assert len(asked) > 100
    for query in [*asked, "zzz"]:
        assert world.search(query) == tool.call({"query": query})


def test_made_up_articles_answer_their_questions_and_are_not_the_shipped_ones(tmp_path: Path) -> None:
    world = World(random.Random(6), tmp_path / "world.sqlite", 40, 12)
    shipped_titles = {one.title for one in read_articles(shipped("tools") / "local_search.jsonl")}
    assert not {topic.title for topic in world.topics} & shipped_titles
    for topic in world.topics:
        for one in topic.questions:
            assert one.value in topic.article.text and "{" not in one.answer + one.query + topic.article.text
            assert 1 <= len(one.query.split()) <= 7
            assert one.sentence in world.search(one.query)


def test_no_training_conversation_asks_a_held_out_question_or_reads_a_shipped_article(runs: Sequence[Trajectory]) -> None:
    asked = {normal(one.user) for run in runs for one in run.rounds}
    held = {normal(text) for half in ("heldout", "newcomer") for case in read(f"desk:live-{half}") for text in case.users}
    assert {text for text in asked & held if re.search("[a-z]{3}|[\u4e00-\u9fff]", text)} <= {"hi", "hello", "good evening"}
    seen = "\n".join(text.text for run in runs for one in run.rounds for step in one.steps for text in step.observations)
    articles = read_articles(shipped("tools") / "local_search.jsonl")
    assert len(articles) > 100 and "1. " in seen
    assert [one.title for one in articles if one.text in seen] == []


@pytest.mark.parametrize(
    ("number", "text"), [(0, "zero"), (14, "fourteen"), (42, "forty two"), (640, "six hundred and forty"), (1005, "one thousand and five")]
)
def test_numbers_in_words(number: int, text: str) -> None:
    assert in_words(number) == text


def test_an_expression_takes_the_drawn_figures() -> None:
    assert substituted("sqrt(a^2 + b) + a.bc", {"a": "3", "b": "4", "c": "5"}) == "sqrt(3^2 + 4) + 3.45"
    text, expression = filled(random.Random(1), "{w:7-7} times {a:12-12}", "w * a")
    assert (text, expression) == ("seven times 12", "7 * 12")


def test_typing_keeps_the_names() -> None:
    rng = random.Random(2)
    made = {typed(rng, "where does Lake Velmora begin", ["Lake Velmora"]) for _ in range(300)}
    assert len(made) > 20
    assert all("lake velmora" in text.lower() for text in made)
    assert any(text == text.lower() for text in made) and any(text.endswith("?") for text in made)
    assert any("where" not in text.lower() or "does" not in text.lower() or "begin" not in text.lower() for text in made)  # a typo


def test_the_share_of_conversations_is_a_field_of_the_recipe() -> None:
    assert len(train_trajectories(Recipe(requests=30, live=0.25))[0]) == 10
    assert train_trajectories(Recipe(requests=30, live=0.0))[0] == []
    assert json.dumps(Recipe().live) == "0.6"
