"""``agenttune chat`` from its options: the model is loaded, the agent is made, and a screen takes over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agenttune import models, protocols, templates
from agenttune.agent.agent import Agent, ToolRunner
from agenttune.agent.conversation import Conversation
from agenttune.agent.formats import PROTOCOL, TEMPLATE, choose
from agenttune.agent.ladder import RUNGS
from agenttune.agent.lagent_classes import check_installed
from agenttune.agent.lagent_react import lagent_run
from agenttune.agent.step import StepOptions
from agenttune.agent.toolbox.permissions import allowing
from agenttune.data.native import resolve
from agenttune.errors import UserError
from agenttune.models.base import Model
from agenttune.models.remote.connect import PER_TOKEN, Connection, connect
from agenttune.protocols.react_zh import REACT_ZH
from agenttune.screens.blocks import note
from agenttune.screens.chat.commands.table import COMMANDS
from agenttune.screens.chat.headless import answer_once, whole_question
from agenttune.screens.chat.keyboard import can_edit, history_path, plain_lines
from agenttune.screens.chat.live.completion import ChatCompleter
from agenttune.screens.chat.live.screen import LiveScreen
from agenttune.screens.chat.options import ChatOptions
from agenttune.screens.chat.permission import CountedAsk, terminal_ask
from agenttune.screens.chat.repl import talk
from agenttune.screens.chat.session_file import SessionFile, find_session, read_session, sessions_folder
from agenttune.screens.console import stderr, stdout
from agenttune.screens.status_line import StatusLine
from agenttune.templates import Template
from agenttune.values.adapter import Card
from agenttune.values.trajectory import Trajectory

if TYPE_CHECKING:
    from agenttune.models.hf import HFModel


def chat(options: ChatOptions) -> int:
    """Talks to a model, and returns an exit code: for one question see `headless.answer_once`, for a conversation `repl.talk`.

    Raises `UserError` for whatever a person must change.
    """
    sampling = options.sampling()
    options.check()
    notes = stderr()
    question = None if options.prompt is None else whole_question(options.prompt, lambda text: note(notes, text))
    folder = sessions_folder()
    path = None if options.resume is None else find_session(options.resume, folder)
    kept = read_session(path) if path is not None else []
    options = _under_lagent(_as_before(options, kept[0]) if kept else options)
    from agenttune.agent import toolbox

    live = LiveScreen(history=history_path()) if question is None and can_edit() else None
    screen = live.console if live is not None else stdout() if question is None else notes
    for said in filter(None, map(toolbox.left_out, options.tools)):
        note(notes, said)
    ask = CountedAsk(allowing(options.allow, live.permission if live is not None else terminal_ask(screen)))
    with toolbox.find(options.tools, ask=ask, mcp=options.mcp, loopback=options.loopback) as found:
        loader = AgentLoader(options, found)
        agent, assumed = loader.first()
        conversation = Conversation(replace(agent, sampling=sampling))
        if kept and path is not None:
            conversation.go_on(kept, keep_id=path.parent == folder)
        session = SessionFile(folder if options.trace else None)
        if question is None:
            if live is not None:
                live.completer = ChatCompleter(COMMANDS, [spec.name for spec in found.specs])
                loader.status = live
            return talk(conversation, live or plain_lines(), screen, assumed, session=session, agents=loader.with_adapter)
        for sentence in assumed:
            note(notes, sentence)
        form, seconds = options.output_format, options.max_seconds
        return answer_once(conversation, question, stdout(), notes, output_format=form, seconds=seconds, permissions=ask, session=session)


def _as_before(options: ChatOptions, kept: Trajectory) -> ChatOptions:
    """What was not said now is as it was in the session."""
    if options.model or options.base_url is not None:
        return options
    if not kept.model:
        raise UserError("this session does not say which model answered; name one")
    return replace(
        options,
        model=kept.model,
        adapter=options.adapter or kept.adapter or None,
        protocol=options.protocol or kept.protocol or None,
        template=options.template or kept.template or None,
    )


def _under_lagent(options: ChatOptions) -> ChatOptions:
    """With --lagent its protocol, which is the only one it has. Raises `UserError` for another, and where lagent is not installed."""
    if not options.lagent:
        return options
    if options.protocol not in (None, REACT_ZH.name):
        raise UserError(f"--lagent speaks {REACT_ZH.name}, not {options.protocol}; leave --protocol away")
    if options.base_url is not None:
        raise UserError("--lagent works over a model that is loaded here; leave --base-url away")
    check_installed()
    return replace(options, protocol=REACT_ZH.name)


class AgentLoader:
    """Agents of one model that differ in their adapter; each is loaded when it is first asked for, and kept."""

    def __init__(self, options: ChatOptions, tools: ToolRunner) -> None:
        self._tools = tools
        model, adapter = models.base_and_adapter(options.model, options.adapter) if options.base_url is None else (options.model, None)
        self._options = replace(options, model=model, adapter=adapter)
        self._agents: dict[str, Agent] = {}
        self._formats: tuple[str, str] = (PROTOCOL, TEMPLATE)
        self.status: StatusLine | LiveScreen = StatusLine(stderr())  # where it is told what is being loaded
        self._served_base = ""  # the name under which a server has the base
        self._base: HFModel | None = None  # the model without an adapter, whose weights all adapters share

    def first(self) -> tuple[Agent, tuple[str, ...]]:
        """The agent that the options name, and sentences about what a person did not say."""
        options = self._options
        if options.base_url is not None:
            return self._first_remote(options.base_url)
        model = self._load(options.adapter or "")
        protocol, template, assumed = choose(model.card, options.protocol, options.template)
        self._formats = protocol, template
        agent = self._agent(model, options.adapter or "", templates.load_for(model.card, template, model.tokenizer))
        return agent, assumed

    def _first_remote(self, base_url: str) -> tuple[Agent, tuple[str, ...]]:
        found = connect(base_url, self._options.model, models.load_tokenizer)
        own = Card(base=found.base, base_fingerprint="", protocol=found.protocol, template=found.template, method="")
        protocol, template, assumed = choose(own if found.protocol else None, self._options.protocol, self._options.template)
        self._formats, self._served_base = (protocol, template), found.base
        agent = self._connected(found, "")
        self._agents[found.model.served] = agent
        return agent, (found.how, *assumed)

    def with_adapter(self, adapter: str) -> Agent:
        """The agent with another adapter, or (empty) the base alone; in the formats of the first. Raises `UserError`."""
        base_url = self._options.base_url
        if base_url is not None:
            served = adapter or self._served_base
            return self._agents.get(served) or self._connected(connect(base_url, served, models.load_tokenizer), served)
        if adapter not in self._agents:
            model = self._load(adapter)
            self._agent(model, adapter, templates.load_for(model.card, self._formats[1], model.tokenizer))
        return self._agents[adapter]

    def _connected(self, found: Connection, name: str) -> Agent:
        """A served model as an agent. One that is asked by messages is laid out for their sake alone, and counted in bytes."""
        protocol, template = self._formats
        self._formats = protocol, template if found.by_ids else TEMPLATE
        role = found.observation_role or None
        form = templates.load(self._formats[1], found.model.tokenizer, found.template_options, observation_role=role)
        agent = self._agent(found.model, name, form)
        self._formats = protocol, template
        free = replace(agent, adapter="", options=replace(agent.options, constrain=False))  # a grammar has no logits to choose from
        guards = free.guards
        if guards is not None and not found.by_ids:
            tokens = {"run_tokens": guards.run_tokens * PER_TOKEN, "observation_tokens": guards.observation_tokens * PER_TOKEN}
            free = replace(free, guards=replace(guards, **tokens))
        return free

    def _agent(self, model: Model, adapter: str, form: Template) -> Agent:
        options = self._options
        protocol = self._formats[0]
        agent = Agent(
            model=model,
            template=form,
            protocol=protocols.get(resolve(protocol, form)),
            toolbox=self._tools,
            max_steps=options.max_steps,
            system=options.system,
            guards=options.guards,
            options=StepOptions(constrain=options.constrain, repairs=RUNGS if options.repair else ()),
            adapter=adapter,
            runner=lagent_run if options.lagent else None,
        )
        self._agents[adapter] = agent
        return agent

    def _load(self, adapter: str) -> Model:
        """The model with an adapter. In a conversation, which may ask for another, all share the base's weights; for one question, which
        cannot, the adapter is merged into them."""
        options = self._options
        how = {"device": options.device, "dtype": options.dtype}
        self.status.show(f"loading {options.model}{' with ' + adapter if adapter else ''} ...")
        try:
            if options.prompt is not None:
                return models.load(options.model, adapter=adapter or None, **how, bits=options.bits)
            if self._base is None:
                self._base = models.load(options.model, **how, bits=options.bits)
            return models.load_beside(self._base, adapter) if adapter else self._base
        finally:
            self.status.clear()
