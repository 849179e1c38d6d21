"""``agenttune chat``: a ReAct conversation with live tools, on a terminal, through a pipe, or for one question."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from agenttune import protocols, templates
from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.agent.ladder import RUNGS
from agenttune.agent.step import StepOptions
from agenttune.agent.toolbox.permissions import allowing
from agenttune.errors import UserError
from agenttune.models.base import Model
from agenttune.screens.blocks import block, note
from agenttune.screens.chat.answer import answer_once
from agenttune.screens.chat.commands import COMMANDS, CommandContext, ExitRequested, run_command
from agenttune.screens.chat.interrupts import DebouncedInterrupts
from agenttune.screens.chat.keyboard import Keyboard, keyboard, piped_question
from agenttune.screens.chat.options import ChatOptions
from agenttune.screens.chat.permission import terminal_ask
from agenttune.screens.chat.trace import Trace
from agenttune.screens.console import stderr, stdout
from agenttune.screens.status_line import StatusLine
from agenttune.values.adapter import Card

PROTOCOL, TEMPLATE = "react", "auto"


def chat(options: ChatOptions) -> int:
    """Talks to a model. With `options.prompt` it answers once and returns 0 if it was answered, else 1.

    Raises `UserError` for whatever a person must change.
    """
    sampling = options.sampling()
    if options.protocol is not None:
        protocols.get(options.protocol)  # a wrong name is said before a model is loaded
    question = piped_question() if options.prompt == "-" else options.prompt
    if question is not None and not question.strip():
        raise UserError("the question is empty; give a text after -p")
    from agenttune.agent import toolbox

    screen = stdout() if question is None else stderr()
    for said in filter(None, map(toolbox.left_out, options.tools)):
        note(stderr(), said)
    with toolbox.find(options.tools, ask=allowing(options.allow, terminal_ask(screen))) as found:
        loaded = _loaded(options)
        protocol, template, assumed = choose(loaded.card, options.protocol, options.template)
        agent = Agent(
            model=loaded,
            template=templates.load(template, loaded.tokenizer, loaded.card.template_options if loaded.card else None),
            protocol=protocols.get(protocol),
            toolbox=found,
            sampling=sampling,
            max_steps=options.max_steps,
            system=options.system,
            guards=options.guards,
            options=StepOptions(constrain=options.constrain, repairs=RUNGS if options.repair else ()),
        )
        if question is not None:
            return once(agent, question, assumed)
        return talk(agent, keyboard([f"/{name}" for name in COMMANDS]), screen, assumed)


def _loaded(options: ChatOptions) -> Model:
    from agenttune import models

    status = StatusLine(stderr())
    status.show(f"loading {options.model} ...")
    try:
        return models.load(options.model, adapter=options.adapter, device=options.device, dtype=options.dtype, bits=options.bits)
    finally:
        status.clear()


def choose(card: Card | None, protocol: str | None, template: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Protocol, template, and sentences about what a person did not say: the card's, and where there is none, ours."""
    if card is not None:
        names = (("--protocol", protocol, card.protocol), ("--template", template, card.template))
        told = tuple(f"{option} {given} in place of the card's {own}" for option, given, own in names if given not in (None, own))
        return protocol or card.protocol, template or card.template, told
    missing = []
    if protocol is None:
        missing.append(f"the protocol {PROTOCOL} (--protocol: {', '.join(protocols.PROTOCOLS)})")
    if template is None:
        missing.append("the tokenizer's own chat template (--template)")
    told = (f"no card of ours: assumed {' and '.join(missing)}",) if missing else ()
    return protocol or PROTOCOL, template or TEMPLATE, told


def once(agent: Agent, question: str, assumed: Sequence[str] = ()) -> int:
    """The answer on standard output, everything else (`assumed` sentences too) on standard error; returns an exit code."""
    trace = stderr()
    for sentence in assumed:
        note(trace, sentence)
    return answer_once(Conversation(agent), question, stdout(), trace)


def talk(agent: Agent, questions: Keyboard, console: Console, assumed: Sequence[str] = ()) -> int:
    """Asks until there are no more questions. Returns 0. The sentences of `assumed` are said first."""
    conversation = Conversation(agent)
    context = CommandContext(conversation=conversation, console=console, ask=lambda text: _ask(conversation, console, text))
    _greet(agent, console, assumed)
    with DebouncedInterrupts() as interrupts:
        while True:
            try:
                _turn(questions, context)
            except (EOFError, ExitRequested):
                return 0
            except KeyboardInterrupt:
                interrupts.seen()
                note(console, "(Ctrl-D or /exit ends; Ctrl-C stops a step)")


def _turn(questions: Keyboard, context: CommandContext) -> None:
    """One line. What a person must change is said, and the conversation goes on."""
    try:
        line = questions.ask().strip()
        if line and questions.echo:
            block(context.console, "you", line)
        _one(line, context)
    except UserError as error:
        note(context.console, str(error), style="red")
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader has gone: nothing to go on for
            raise
        note(context.console, f"{error.filename or 'the system'}: {error.strerror or error}", style="red")


def _one(line: str, context: CommandContext) -> None:
    if line.startswith("//"):
        context.ask(line[1:])
    elif line.startswith("/"):
        run_command(line, context)
    elif line:
        context.ask(line)


def _ask(conversation: Conversation, console: Console, text: str) -> None:
    agent = conversation.agent
    screen = Trace(console, agent)
    screen.start()
    try:
        stop = conversation.ask(text, screen.on)
    finally:
        screen.close()
    if conversation.left_out:
        note(console, f"the unanswered round before was left out: {agent.protocol.name} cannot go on from it")
    if stop == "malformed" and agent.model.card is None:
        note(console, f"(a model that was not tuned for {agent.protocol.name} may do better with another --protocol, e.g. hermes)")
    note(console, conversation.last.sentence())


def _greet(agent: Agent, console: Console, assumed: Sequence[str]) -> None:
    names = ", ".join(spec.name for spec in agent.toolbox.specs) or "none"
    formats = f", {agent.protocol.name}, template {agent.template.name}"
    note(console, f"{agent.model.name}{formats}, tools: {names}", style="bold")
    for sentence in assumed:
        note(console, sentence)
    note(console, "/help lists the commands; Ctrl-C stops a step, Ctrl-D ends")
