"""The live suite: the same bytes each time, enough cases of each kind, and nothing of it in the training half."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from agenttune.agent.toolbox.articles.index import read_articles
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


def _trained() -> set[str]:
    """Every line of the training half that is typed, whatever its code."""
    other = [row.partition(" ")[2] for row in lines("other", "")]
    chinese = [row for code in "sg!" for row in lines("chinese", code)]
    rows = [*lines("sums", ""), *lines("talk", ""), *other, *chinese]
    return {_told(row.split(" | ")[0].removeprefix("~ ").removeprefix("! ")) for row in rows}


def _shared(half: str, trained: set[str]) -> set[str]:
    typed = {_told(text) for one in live.wordings(half) for text in one.rounds}
    return {text for text in typed & trained if set(text.split()) - SUM_WORDS}


def test_no_wording_of_held_out_or_of_the_newcomer_is_one_of_training() -> None:
    trained = _trained()
    assert len(trained) > 500
    assert _shared("heldout", trained) == set()
    assert _shared("newcomer", trained) == {
        "slot乘以slot等于多少",
        "half of slot",
        "hi",
        "slot factorial",
    }  # what people say; told in the README


def test_a_wording_of_held_out_in_training_would_be_seen() -> None:
    for one in [one for one in live.wordings("heldout") if one.kind == "talk"][:3]:
        copied = _told(one.rounds[0].upper() + "??")  # letter case and stops hide nothing
        assert _shared("heldout", _trained() | {copied}) == {copied}


def _questions() -> set[str]:
    """Every question of the training half's articles, alone and in its frames, with an article's title as a slot."""
    found = set()
    for name in ("articles", "chinese"):
        for row in (row for code in "qo" for row in lines(name, code)):
            asked, *phrases = row.split(" | ")[3:]
            whole = asked.split(" / ")
            framed = [frame.replace("{q}", text) for frame in lines("frames", "q") for text in whole]
            framed += [frame.replace("{x}", text) for frame in lines("frames", "n") for text in "".join(phrases[:1]).split(" / ") if text]
            found |= {_told(text) for text in (*whole, *framed)}
    return found


def _untitled(one: live.Wording, text: str) -> str:
    """The text with the titles of its articles, or their first or last words, as slots."""
    for title in sorted(one.articles, key=len, reverse=True):
        for part in (title, title.split(" (")[0], title.split()[-1], title.split()[0]):
            text = re.sub(rf"(?i)\b(the )?{re.escape(part)}\b", "{n}", text)
    return text


def test_how_many_questions_are_asked_as_in_training_but_for_the_title_is_known() -> None:
    """ "What is the capital of …?" can hardly be asked otherwise. The README tells these numbers; they may fall."""
    trained = _questions()
    assert len(trained) > 5000
    same = {}
    for half in ("heldout", "newcomer"):
        asked = [(one, text) for one in live.wordings(half) if one.articles for text in one.rounds]
        same[half] = sum(_told(_untitled(one, text)) in trained for one, text in asked), len(asked)
    assert same == {"heldout": (16, 138), "newcomer": (11, 54)}


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
