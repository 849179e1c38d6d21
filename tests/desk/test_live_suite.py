"""The live suite: the same bytes each time, enough cases of each kind, and nothing of it in the training half."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from agenttune.agent.toolbox.index import read_articles
from agenttune.agent.toolbox.run import Toolbox
from agenttune.desk import live
from agenttune.desk.cards import unseen
from agenttune.desk.checks import normal
from agenttune.desk.live_tools import SEARCH_NAMES, SUM_NAMES
from agenttune.desk.live_world import families, lines
from agenttune.desk.offers import words
from agenttune.evaluation.live.cases import read
from agenttune.files import shipped
from agenttune.values.trajectory import ToolCall

KINDS = {"sums", "facts", "compute", "talk", "declines", "missing", "follow", "retry", "chinese", "unseen"}


def rows(half: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (live.FOLDER / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("half", live.HALVES)
def test_the_committed_cases_are_what_the_wordings_give(half: str) -> None:
    assert (live.FOLDER / f"{half}.jsonl").read_text(encoding="utf-8") == live.lines(half), "python -m agenttune.desk.live, and commit"


@pytest.mark.parametrize("half", ["dev", "heldout"])
def test_each_kind_has_thirty_cases_or_more(half: str) -> None:
    counted = Counter(row["tags"]["kind"] for row in rows(half))
    assert set(counted) == KINDS
    assert min(counted.values()) >= 30
    assert len({row["id"] for row in rows(half)}) == sum(counted.values())


def test_the_newcomers_hundred_are_as_many_as_they_say() -> None:
    counted = Counter(row["tags"]["kind"] for row in rows("newcomer"))
    assert counted == {"sums": 25, "facts": 35, "compute": 12, "chinese": 10, "talk": 9, "declines": 9}


def test_held_out_shares_no_article_and_no_wording_with_development() -> None:
    articles = [{article for one in live.wordings(half) for article in one.articles} for half in ("dev", "heldout")]
    assert not articles[0] & articles[1]
    texts = [
        {normal(text) for one in live.wordings(half) for text in one.rounds if re.search("[a-z]{3}", text)} for half in ("dev", "heldout")
    ]
    assert not texts[0] & texts[1]


# A sum in figures and such words alone has no wording of its own.
SUM_WORDS = frozenset(
    [
        "slot",
        "n",
        "of",
        "add",
        "and",
        "to",
        "plus",
        "minus",
        "times",
        "x",
        "by",
        "divide",
        "divided",
        "multiplied",
        "take",
        "away",
        "from",
        "mod",
    ]
)


def _told(text: str) -> str:
    return normal(re.sub(r"\{[^}]*\}|\d+", "{n}", text))


def test_no_wording_of_held_out_or_of_the_newcomer_is_one_of_training() -> None:
    trained = {_told(line.split(" | ")[0].removeprefix("~ ")) for line in lines("sums", "")}
    trained |= {_told(line.split(" | ")[0].removeprefix("! ")) for line in lines("talk", "")}
    trained |= {_told(line.split(" | ")[0]) for code in "2pdeymcf" for line in lines("other", code)}
    trained |= {_told(line.split(" | ")[0]) for code in "sg!" for line in lines("chinese", code)}
    for half in ("heldout", "newcomer"):
        typed = {_told(text) for one in live.wordings(half) for text in one.rounds}
        shared = {text for text in typed & trained if set(text.split()) - SUM_WORDS}
        assert len(shared) <= (0 if half == "heldout" else 12), sorted(shared)  # "hi" and "good evening" are what people say


def test_what_an_answer_must_hold_stands_in_the_articles() -> None:
    articles = read_articles(shipped("tools") / "local_search.jsonl")
    by_title = {one.title: one.text for one in articles}
    for half in live.HALVES:
        for one in live.wordings(half):
            assert set(one.articles) <= set(by_title), one
            if one.judge.startswith(("number ", "text ")) and one.articles and one.kind in ("facts", "follow", "chinese"):
                told = " ".join(f"{title}: {by_title[title]}" for title in one.articles).lower().replace(",", "")
                accepted = one.judge.partition(" ")[2].lower().replace(",", "").split(" ;; ")
                assert any(text in told for text in accepted), one


def test_unseen_tools_do_what_their_cases_expect() -> None:
    judged = Counter[str]()
    for half in ("dev", "heldout"):
        for case in read(f"desk:live-{half}"):
            if case.tags["kind"] != "unseen":
                continue
            judged[case.how] += 1
            assert len(case.tools) == 3
            if case.how == "state":
                (wanted,) = case.accepted
                (seen,) = Toolbox(case.tools, inline=True).run([ToolCall(name=wanted["name"], arguments=wanted["arguments"])])
                assert not seen.error, (case.id, seen.text)
    assert judged["state"] >= 10 and judged["numbers"] >= 20


def test_names_that_search_and_reckon_share_no_word_with_an_unseen_tool() -> None:
    taken = {word for half in ("dev", "heldout") for card in unseen(half) for name in card.names for word in words(name)}
    assert not taken & {word for name in (*SEARCH_NAMES, *SUM_NAMES) for word in words(name)}


def test_articles_of_training_are_of_fifteen_families_or_more_and_none_is_shipped() -> None:
    assert len(families("articles")) >= 15
    assert all(len(one.lines["q"]) + len(one.lines.get("o", ())) >= 3 for one in families("articles"))
