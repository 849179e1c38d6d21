"""Training conversations in which a fact is looked up, or two, and then reckoned with."""

from __future__ import annotations

import re

from agenttune.desk.live_maker import LiveMaker
from agenttune.desk.live_talk import Talk, answered, reckoning, usable
from agenttune.desk.live_typing import filled, substituted
from agenttune.desk.live_world import Question, Topic


def computed(maker: LiveMaker) -> Talk:
    """A figure of one article, a life's years, or the figures of two."""
    talk = maker.begun("search", "calculator")
    code = maker.rng.choices("2pdey", (5, 4, 4, 2, 3))[0]
    make = _of_pair if code in "de" else _of_person if code == "p" else _of_one
    make(maker, talk, code)
    return talk


def _figure(maker: LiveMaker, years: bool, family: str = "") -> tuple[Topic, Question]:
    while True:
        topic = maker.topics[False].draw(lambda one: not family or one.family == family) if family else maker.topics[False].draw()
        fits = [one for one in topic.questions if one.titled and one.number and one.phrases and (one.kind == "n") != years]
        if fits:
            return topic, maker.rng.choice(fits)


def _of_one(maker: LiveMaker, talk: Talk, code: str) -> None:
    while True:
        _, question = _figure(maker, code == "y")
        line = maker.decks[code].draw()
        text, expression = filled(maker.rng, *line.split(" | "))
        expression = substituted(expression, {"L": question.number})
        if usable(expression):
            break
    text, query = maker.both(text.replace("{x}", maker.rng.choice(question.phrases)), question.query)
    talk.ask(text)
    maker.looked(talk, query)
    _closed(maker, talk, question.quoted, expression)


def _of_person(maker: LiveMaker, talk: Talk, code: str) -> None:
    while True:
        topic = maker.topics[False].draw()
        lived = re.search(r"\((\d{4}) to (\d{4})\)", topic.article.text)
        if lived:
            break
    line, expression = maker.decks[code].draw().split(" | ")
    text, query = maker.both(line.replace("{t}", topic.title), topic.title)
    talk.ask(text)
    maker.looked(talk, query)
    sentence = f"{topic.title}: " + re.split(r"(?<=\.)\s", topic.article.text)[0]
    _closed(maker, talk, sentence, substituted(expression, {"Y": lived[1], "Z": lived[2]}))


def _of_pair(maker: LiveMaker, talk: Talk, code: str) -> None:
    while True:
        first, one = _figure(maker, code == "e")
        second, other = _figure(maker, code == "e")
        text, expression = maker.decks[code].draw().split(" | ")
        expression = substituted(expression, {"L": one.number, "M": other.number})
        if first.title != second.title and usable(expression):
            break
    slots = {"{t}": first.title, "{u}": second.title, "{x}": maker.rng.choice(one.phrases), "{y}": maker.rng.choice(other.phrases)}
    for slot, value in slots.items():
        text = text.replace(slot, value)
    text, query, next_query = maker.both(text, one.query, other.query)
    talk.ask(text)
    maker.looked(talk, query)
    maker.looked(talk, next_query, one.quoted)
    _closed(maker, talk, other.quoted, expression)


def _closed(maker: LiveMaker, talk: Talk, sentence: str, expression: str) -> None:
    assert talk.listed.sums is not None
    result = talk.call(talk.listed.sums, expression, f"{sentence} {reckoning(talk.listed.sums, expression)}")
    talk.answer(answered(result, "en"), "")
