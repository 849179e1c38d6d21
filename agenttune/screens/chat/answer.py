"""One question, one answer: the answer alone on standard output, the trace on standard error."""

from __future__ import annotations

from rich.console import Console

from agenttune.agent.conversation import Conversation
from agenttune.screens.blocks import note
from agenttune.screens.chat.trace import Trace
from agenttune.screens.inert import inert


def answer_once(conversation: Conversation, question: str, out: Console, trace: Console) -> int:
    """Asks and prints. Returns 0 where the model answered, 1 where it did not or was forced to, 130 where it was stopped."""
    screen = Trace(trace, conversation.agent, answers=False)
    screen.start()
    try:
        stop = conversation.ask(question, screen.on)
    finally:
        screen.close()
    note(trace, conversation.last.sentence())
    if stop == "interrupted":
        return 130
    steps = conversation.trajectory.rounds[-1].steps if conversation.trajectory.rounds else ()
    forced = bool(steps) and steps[-1].outcome == "forced"
    if not (stop == "answer" or forced) or not steps or steps[-1].answer is None:
        return 1
    out.out(inert(steps[-1].answer), highlight=False)
    return 1 if forced else 0
