"""Training conversations of one round: a sum, a fact, in Chinese, small talk, what no tool does, what another tool does."""

from __future__ import annotations

from agenttune.agent.toolbox.run import Toolbox
from agenttune.desk import words
from agenttune.desk.execute import Expert, answering
from agenttune.desk.live_maker import LiveMaker
from agenttune.desk.live_talk import Talk, usable
from agenttune.desk.live_typing import filled, typed
from agenttune.desk.live_world import invented
from agenttune.desk.pools import Draw
from agenttune.desk.request import PlannedRequest, Request, fill
from agenttune.values.trajectory import Round, Step


def sums(maker: LiveMaker) -> Talk:
    """A sum."""
    talk = maker.begun("calculator")
    text, expression = maker.sum()
    maker.worked(talk, typed(maker.rng, text), expression)
    return talk


def facts(maker: LiveMaker) -> Talk:
    """A fact of an article."""
    talk = maker.begun("search")
    maker.found(talk, *maker.fact())
    return talk


def chinese(maker: LiveMaker) -> Talk:
    """A fact, a sum, small talk, or what no tool does, asked in Chinese."""
    draw = maker.rng.random()
    if draw < 0.46:
        talk = maker.begun("search")
        maker.found(talk, *maker.fact(chinese=True))
        return talk
    if draw < 0.88:
        talk = maker.begun("calculator")
        while True:
            text, expression = filled(maker.rng, *maker.chinese["s"].draw().split(" | "))
            if usable(expression):
                break
        maker.worked(talk, text.rstrip("？?") + maker.rng.choice(("？", "", "?")), expression, "zh")
        return talk
    talk = maker.begun(plain=True)
    declined = draw > 0.93
    text, told = maker.chinese["!" if declined else "g"].draw().split(" | ")
    talk.ask(text.replace("{N}", invented(maker.rng, chinese=True)))
    talk.answer(words.NO_TOOL_ZH[0].format(gloss=told) if declined else told, f"{words.NONE['en'] if declined else words.TALK['en']}.")
    return talk


def talk(maker: LiveMaker) -> Talk:
    """What needs no tool."""
    talk = maker.begun("search", "calculator")
    text, told = maker.talk.draw().split(" | ")
    talk.ask(typed(maker.rng, text.replace("{N}", invented(maker.rng))))
    talk.answer(told, f"{words.TALK['en']}.")
    return talk


def declines(maker: LiveMaker) -> Talk:
    """A request that no tool can do."""
    talk = maker.begun(plain=True)
    text, gloss = filled(maker.rng, *maker.requests.draw().split(" | "))
    talk.ask(typed(maker.rng, text.replace("{N}", invented(maker.rng))))
    talk.answer(words.NO_TOOL[0].format(gloss=gloss), f"To {gloss}. {words.NONE['en']}.")
    return talk


def other(maker: LiveMaker) -> Talk:
    """What one of the other tools does, though the list also searches and reckons."""
    while True:
        talk = maker.begun("search", "calculator", crowded=True)
        usable = [one for one in talk.listed.others if one.card.select("train", "en", False)]
        if usable:
            break
    offer = maker.rng.choice(usable)
    pattern = maker.rng.choice(offer.card.select("train", "en", False))
    text, values = fill(pattern, offer.card, Draw(maker.rng, False, "en"))
    request = Request(kind="call", lang="en", user=text, patterns=(pattern,), calls=(PlannedRequest(offer=offer, values=values),))
    expert = Expert(request, maker.recipe.thought, maker.recipe.phrases, maker.rng)
    tools = [answering(one) if one is offer.tool else one for one in talk.listed.tools]
    talk.ask(text)
    step = expert.step()
    (seen,) = Toolbox(tools, inline=True).run(step.calls)
    assert not seen.error, (step, seen.text)
    expert.seen.append(seen.text)
    talk.steps = [Step(thought=step.thought, calls=step.calls, observations=(seen,)), expert.step()]
    talk.rounds[-1] = Round(user=text, steps=tuple(talk.steps))
    return talk
