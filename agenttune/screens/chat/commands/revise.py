"""Commands that change the conversation, or what comes next in it."""

from __future__ import annotations

from dataclasses import replace

from agenttune.errors import UserError
from agenttune.screens.blocks import block, note
from agenttune.screens.chat.commands.base import CommandContext, short, whole


def system(context: CommandContext, rest: str) -> None:
    """Shows the system text, or sets it."""
    if rest:
        context.conversation.set_system("" if rest == "-" else rest)
    text = context.conversation.trajectory.system
    block(context.console, "system", text) if text else note(context.console, "no system text")


def steps(context: CommandContext, rest: str) -> None:
    """Shows or sets how many replies one question may take."""
    talk = context.conversation
    if rest:
        talk.agent = replace(talk.agent, max_steps=whole(rest, "/steps", 1))
    note(context.console, f"at most {talk.agent.max_steps} {'reply' if talk.agent.max_steps == 1 else 'replies'} for one question")


def temperature(context: CommandContext, rest: str) -> None:
    """Shows or sets the temperature."""
    talk = context.conversation
    if rest:
        talk.sampling = replace(talk.sampling, temperature=_temperature(rest))
    note(context.console, f"temperature {talk.sampling.temperature:g}")


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"/temp takes a number of 0 or more, not {text}")
    return value


def undo(context: CommandContext, rest: str) -> None:
    """Takes the last round back."""
    taken = context.conversation.undo()
    note(context.console, "there is nothing to take back" if taken is None else f"taken back: {short(taken)}")


def rewind(context: CommandContext, rest: str) -> None:
    """Keeps the first rounds alone."""
    context.conversation.rewind(whole(rest, "/rewind", 0))
    count = len(context.conversation.trajectory.rounds)
    note(context.console, f"back at the end of round {count}" if count else "back at the beginning")


def retry(context: CommandContext, rest: str) -> None:
    """Asks the last question again."""
    question = context.conversation.retry()
    if question is None:
        note(context.console, "nothing was asked yet")
        return
    if context.conversation.sampling.temperature == 0:
        note(context.console, "(at temperature 0 a whole answer comes out the same; /temp changes that)")
    note(context.console, f"asked again: {short(question)}")
    context.ask(question)


def edit(context: CommandContext, rest: str) -> None:
    """Puts another answer in the place of the last."""
    rounds = context.conversation.trajectory.rounds
    if not rounds or not rounds[-1].steps:
        raise UserError("there is no answer to edit")
    text = rest
    if not text:
        if context.edit_text is None:
            raise UserError("give the new answer after /edit")
        text = context.edit_text(rounds[-1].steps[-1].answer or "")
    context.conversation.edit(text)
    block(context.console, "answer", text.strip())
    note(context.console, "edited: the conversation goes on from this, and it is what will be trained")


def good(context: CommandContext, rest: str) -> None:
    """The last answer was good."""
    context.conversation.judge("good", rest)
    note(context.console, "good: this round will be trained as it is")


def bad(context: CommandContext, rest: str) -> None:
    """The last answer was bad."""
    context.conversation.judge("bad", rest)
    note(context.console, "bad: this round is context only in training; /edit writes a better answer")


def reset(context: CommandContext, rest: str) -> None:
    """Begins anew."""
    context.conversation.reset()
    note(context.console, "a new conversation")


def adapter(context: CommandContext, rest: str) -> None:
    """Says which adapter answers, or lets another; the last question is then answered by both."""
    talk = context.conversation
    if not rest:
        note(context.console, f"{talk.agent.model.name} with the adapter {talk.agent.adapter}" if talk.agent.adapter else "no adapter")
        return
    if context.agents is None:
        raise UserError("there is no other adapter in this session")
    wanted = "" if rest == "off" else talk.trajectory.adapter if rest == "on" else rest
    other = replace(context.agents(wanted), max_steps=talk.agent.max_steps, guards=talk.agent.guards)
    last = talk.trajectory.rounds[-1] if talk.trajectory.rounds else None
    if last is not None and last.answered_by != other.answered_by:
        context.compare(other)
        _beside(context, last.steps[-1].answer if last.steps else None)
    talk.use(other)
    note(context.console, f"from now on {other.answered_by} answers" + ("; /adapter on goes back" if rest == "off" else ""))


def _beside(context: CommandContext, own: str | None) -> None:
    """Both answers, one under the other."""
    first, other = context.conversation.trajectory, context.conversation.comparisons[-1:]
    for one, answer in ((first, own), *((each, each.rounds[-1].steps[-1].answer) for each in other)):
        note(context.console, one.rounds[-1].answered_by, style="bold")
        block(context.console, "answer", answer if answer is not None else "(none)")
