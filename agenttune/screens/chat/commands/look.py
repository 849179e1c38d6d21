"""Commands that show something and change nothing."""

from __future__ import annotations

from collections.abc import Mapping

from agenttune.agent.history import verbatim
from agenttune.errors import UserError
from agenttune.protocols.base import write
from agenttune.screens.blocks import block, note
from agenttune.screens.chat.commands.base import CommandContext, counted, whole
from agenttune.screens.show.views import show_round, show_tools


def tools(context: CommandContext, rest: str) -> None:
    """The tools the model may call."""
    specs = context.conversation.agent.toolbox.specs
    show_tools(context.console, specs)
    if not specs:
        note(context.console, "no tools; start with --tools a,b,c (agenttune tools list shows them)")


def model(context: CommandContext, rest: str) -> None:
    """What answers."""
    agent = context.conversation.agent
    card = agent.model.card
    for label, text in (
        ("model", agent.model.name),
        ("adapter", agent.adapter or "none"),
        ("formats", f"protocol {agent.protocol.name}, template {agent.template.name}"),
        ("context", f"{agent.model.context:,} tokens"),
        ("trained", f"{card.method} on {card.base}" if card is not None else ""),
    ):
        if text:
            block(context.console, label, text)


def show(context: CommandContext, rest: str) -> None:
    """A round in full."""
    rounds = context.conversation.trajectory.rounds
    if not rounds:
        note(context.console, "there is nothing to show")
        return
    number = whole(rest, "/show", 1) if rest else len(rounds)
    if number > len(rounds):
        raise UserError(f"there is no round {number}; there {'is' if len(rounds) == 1 else 'are'} {len(rounds)}")
    show_round(context.console, rounds[number - 1])


def tokens(context: CommandContext, rest: str) -> None:
    """What the last round took, and how full the context is."""
    talk = context.conversation
    note(context.console, talk.last.sentence(), style="")
    note(context.console, _filled(context), style="")


def _filled(context: CommandContext) -> str:
    talk = context.conversation
    window = talk.agent.model.context
    return f"{talk.filled:,} of {window:,} tokens of the context are used ({100 * talk.filled / window:.0f} %)"


def context_parts(context: CommandContext, rest: str) -> None:
    """What fills the context."""
    for name, count in _parts(context).items():
        note(context.console, f"{name:24}{count:>9,}", style="")
    note(context.console, _filled(context), style="")


def _parts(context: CommandContext) -> Mapping[str, int]:
    """Tokens by what they are. Only what is said is counted; the template's markers stand between."""
    agent = context.conversation.agent
    found = {"system text and tools": 0, "you": 0, "what tools answered": 0, "the model": 0}
    made = context.conversation.trajectory
    if not made.rounds:
        found["system text and tools"] = _size(context, agent.protocol.system_text(made.system, made.tools))
        return found
    turns = write(verbatim(made), agent.protocol).turns
    users = {one.user for one in made.rounds}
    for number, turn in enumerate(turns):
        found["what tools answered" if number else "system text and tools"] += _size(context, turn.system)
        found["you" if turn.input in users else "what tools answered"] += _size(context, turn.input)
        found["the model"] += _size(context, turn.output)
    return found


def _size(context: CommandContext, text: str) -> int:
    return len(context.conversation.agent.model.tokenizer.encode(text, special=False)) if text else 0


def stats(context: CommandContext, rest: str) -> None:
    """Totals so far."""
    total = context.conversation.total
    note(context.console, f"{counted(total.rounds, 'round')}, {total.sentence()}", style="")
    for what, counts in (("guards", context.conversation.guards), ("repairs", context.conversation.repairs)):
        if counts:
            note(context.console, f"{what}: {', '.join(f'{name} {count}' for name, count in sorted(counts.items()))}", style="")


def trace(context: CommandContext, rest: str) -> None:
    """Where the session is kept, and what can be done with it."""
    path = context.session.path(context.conversation)
    if path is None:
        note(context.console, "this session is not kept (--no-trace); /save FILE keeps it")
        return
    rounds = context.conversation.trajectory.rounds
    judged = ", ".join(f"{sum(one.verdict == name for one in rounds)} {name}" for name in ("good", "bad"))
    beside = len(context.conversation.comparisons)
    note(context.console, f"{path}: {counted(len(rounds), 'round')}, {judged}, {beside} answered by another agent too", style="")
    note(context.console, f"agenttune convert trajectory {path} -o samples.jsonl makes training data of it")
