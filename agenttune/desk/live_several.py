"""Training conversations of more than one round or try: what is missing is asked for, a follow-up, a tool that fails once."""

from __future__ import annotations

from agenttune.desk import words
from agenttune.desk.live_maker import LiveMaker
from agenttune.desk.live_talk import Talk, evaluated, reckoning, seeking
from agenttune.desk.live_typing import filled, typed
from agenttune.desk.live_world import Topic

_PRONOUNS = {"scientist": "he", "artist": "she"}


def missing(maker: LiveMaker) -> Talk:
    """A request that lacks what a call needs, and then has it."""
    talk = maker.begun("search", "calculator", plain=True)
    text, kind = maker.decks["m"].draw().split(" | ")
    talk.ask(typed(maker.rng, text))
    if kind == "calculator":
        assert talk.listed.sums is not None
        talk.answer(words.ASK[0].format(label="numbers"), reckoning(talk.listed.sums, "?"))
        text, expression = maker.sum()
        maker.worked(talk, typed(maker.rng, text), expression)
    else:
        assert talk.listed.search is not None
        talk.answer(words.ASK[0].format(label="name and what you want to know"), seeking(talk.listed.search, "?"))
        maker.found(talk, *maker.fact())
    return talk


def follow(maker: LiveMaker) -> Talk:
    """A question, and one that only makes sense after it."""
    if maker.rng.random() < 0.5:
        return _followed_sum(maker)
    talk = maker.begun("search")
    topic = maker.topics[False].draw(lambda one: sum(own.titled for own in one.questions) > 1)
    first, second = maker.rng.sample([one for one in topic.questions if one.titled], 2)
    text, query = maker.asked(first)
    maker.found(talk, text, query, first)
    asked = _pronoun(maker, topic, maker.rng.choice(second.questions))
    phrase = _pronoun(maker, topic, maker.rng.choice(second.phrases))
    frame = maker.decks["f"].draw().replace("{q}", asked.rstrip("?")).replace("{p}", phrase)
    small = query == query.lower()
    maker.found(talk, typed(maker.rng, frame), second.query.lower() if small else second.query, second)
    return talk


def _pronoun(maker: LiveMaker, topic: Topic, text: str) -> str:
    names = sorted({topic.title, topic.title.split(" (")[0]}, key=len, reverse=True)
    word = _PRONOUNS.get(topic.family, "it")
    for name in names:
        for own in (f"the {name}", f"a {name}", name):
            text = text.replace(f"{own}'s", "its").replace(own, word)
    return text


def _followed_sum(maker: LiveMaker) -> Talk:
    talk = maker.begun("calculator")
    if maker.rng.random() < 0.4:
        return _asked_again(maker, talk)
    while True:
        text, expression = maker.sum()
        result = evaluated(expression)
        if result and len(result) <= 7:
            break
    maker.worked(talk, typed(maker.rng, text), expression)
    text, after = filled(maker.rng, *maker.decks["c"].draw().split(" | "))
    maker.worked(talk, typed(maker.rng, text), after.replace("({e})", result))
    return talk


def _asked_again(maker: LiveMaker, talk: Talk) -> Talk:
    """The same sum of another number: what is the same is left out."""
    text, first, second = maker.decks["g"].draw().split(" | ")
    shown, expressions = filled(maker.rng, text, f"{first} | {second}")
    for asked, expression in zip(shown.split(" || "), expressions.split(" | "), strict=True):
        maker.worked(talk, typed(maker.rng, asked), expression)
    return talk


def retry(maker: LiveMaker) -> Talk:
    """A tool that fails once and is asked again."""
    fault = maker.rng.choice(words.BUSY)
    if maker.rng.random() < 0.5:
        talk = maker.begun("calculator", fault=fault)
        text, expression = maker.sum()
        maker.worked(talk, typed(maker.rng, text), expression)
    else:
        talk = maker.begun("search", fault=fault)
        maker.found(talk, *maker.fact())
    return talk
