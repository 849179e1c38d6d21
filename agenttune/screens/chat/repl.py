"""``agenttune chat``: a ReAct conversation with live tools, on a terminal, through a pipe, or for one question."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from agenttune import protocols, templates
from agenttune.errors import UserError
from agenttune.models.base import Model
from agenttune.screens.blocks import block, note
from agenttune.screens.chat.answer import answer_once
from agenttune.screens.chat.commands import COMMANDS, Desk, Leave, run_command
from agenttune.screens.chat.conversation import Conversation, Setup
from agenttune.screens.chat.interrupts import OneAtATime
from agenttune.screens.chat.keyboard import Keyboard, keyboard, piped_question
from agenttune.screens.chat.trace import Trace
from agenttune.screens.console import stderr, stdout
from agenttune.screens.tail import Tail
from agenttune.values.adapter import Card
from agenttune.values.tokens import SamplingParams

PROTOCOL, TEMPLATE = "react", "auto"


def chat(
    *,
    model: str,
    adapter: str | None = None,
    tools: Sequence[str] = ("calculator", "local_search"),
    prompt: str | None = None,
    protocol: str | None = None,
    template: str | None = None,
    system: str = "",
    device: str = "auto",
    dtype: str = "auto",
    bits: int | None = None,
    max_new_tokens: int = 512,
    max_steps: int = 8,
    temperature: float = 0.0,
) -> int:
    """Talks to a model. With `prompt` it answers once (``-``: the question is standard input) and returns 0 if it was answered, else 1.

    Raises `UserError` for whatever a person must change.
    """
    sampling = _sampling(max_new_tokens, max_steps, temperature)
    if protocol is not None:
        protocols.get(protocol)  # a wrong name is said before a model is loaded
    question = piped_question() if prompt == "-" else prompt
    if question is not None and not question.strip():
        raise UserError("the question is empty; give a text after -p")
    from agenttune.agent import toolbox

    with toolbox.find(tools) as found:
        loaded = _loaded(model, adapter, device, dtype, bits)
        spoken, form, assumed = choose(loaded.card, protocol, template)
        setup = Setup(
            model=loaded,
            template=templates.load(form, loaded.tokenizer),
            protocol=protocols.get(spoken),
            toolbox=found,
            sampling=sampling,
            max_steps=max_steps,
            system=system,
            assumed=assumed,
        )
        if question is not None:
            return once(setup, question)
        return talk(setup, keyboard([f"/{name}" for name in COMMANDS]), stdout())


def _loaded(model: str, adapter: str | None, device: str, dtype: str, bits: int | None) -> Model:
    from agenttune import models

    tail = Tail(stderr())
    tail.show(f"loading {model} ...")
    try:
        return models.load(model, adapter=adapter, device=device, dtype=dtype, bits=bits)
    finally:
        tail.clear()


def _sampling(max_new_tokens: int, max_steps: int, temperature: float) -> SamplingParams:
    for name, value in (("--max-new-tokens", max_new_tokens), ("--max-steps", max_steps)):
        if value < 1:
            raise UserError(f"{name} must be 1 or more, not {value}")
    if not 0 <= temperature < float("inf"):
        raise UserError(f"--temperature must be 0 or more, not {temperature:g}")
    return SamplingParams(max_new_tokens=max_new_tokens, temperature=temperature)


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


def once(setup: Setup, question: str) -> int:
    """The answer on standard output, everything else on standard error; returns an exit code."""
    trace = stderr()
    for sentence in setup.assumed:
        note(trace, sentence)
    return answer_once(Conversation(setup), question, stdout(), trace)


def talk(setup: Setup, questions: Keyboard, console: Console) -> int:
    """Asks until there are no more questions. Returns 0."""
    conversation = Conversation(setup)
    desk = Desk(conversation=conversation, console=console, ask=lambda text: _ask(conversation, console, text))
    _greet(setup, console)
    with OneAtATime() as interrupts:
        while True:
            try:
                _turn(questions, desk)
            except (EOFError, Leave):
                return 0
            except KeyboardInterrupt:
                interrupts.seen()
                note(console, "(Ctrl-D or /exit ends; Ctrl-C stops a step)")


def _turn(questions: Keyboard, desk: Desk) -> None:
    """One line. What a person must change is said, and the conversation goes on."""
    try:
        line = questions.ask().strip()
        if line and questions.echo:
            block(desk.console, "you", line)
        _one(line, desk)
    except UserError as error:
        note(desk.console, str(error), style="red")
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader has gone: nothing to go on for
            raise
        note(desk.console, f"{error.filename or 'the system'}: {error.strerror or error}", style="red")


def _one(line: str, desk: Desk) -> None:
    if line.startswith("//"):
        desk.ask(line[1:])
    elif line.startswith("/"):
        run_command(line, desk)
    elif line:
        desk.ask(line)


def _ask(conversation: Conversation, console: Console, text: str) -> None:
    setup = conversation.setup
    screen = Trace(console, setup.bounds)
    screen.start()
    try:
        stop = conversation.ask(text, screen.on)
    finally:
        screen.close()
    if conversation.left_out:
        note(console, f"the unanswered round before was left out: {setup.protocol.name} cannot go on from it")
    if stop == "malformed" and setup.model.card is None:
        note(console, f"(a model that was not tuned for {setup.protocol.name} may do better with another --protocol, e.g. hermes)")
    note(console, conversation.last.sentence())


def _greet(setup: Setup, console: Console) -> None:
    names = ", ".join(spec.name for spec in setup.toolbox.specs) or "none"
    card = f", {setup.protocol.name}, template {setup.template.name}"
    note(console, f"{setup.model.name}{card}, tools: {names}", style="bold")
    for sentence in setup.assumed:
        note(console, sentence)
    note(console, "/help lists the commands; Ctrl-C stops a step, Ctrl-D ends")
