"""What ``--upstream`` serves: each name at the server, with the card of the adapter that has this name here."""

from __future__ import annotations

from collections.abc import Callable

from agenttune import models, protocols, templates
from agenttune.agent.formats import TEMPLATE, choose
from agenttune.agent.ladder import RUNGS
from agenttune.data.native import resolve
from agenttune.errors import UserError
from agenttune.models.card import read_card
from agenttune.models.remote.connect import Connection, connect
from agenttune.serving.backends.engine import EngineOptions
from agenttune.serving.backends.upstream import Upstream
from agenttune.serving.options import ServeOptions
from agenttune.serving.prompts import Speaker
from agenttune.serving.served import ServedModel
from agenttune.values.adapter import Card

NO_PARITY = "parity not guaranteed: the server's own template lays the messages out; calls are read, checked and asked for again"


def upstream_models(options: ServeOptions, on_event: Callable[[str], None]) -> tuple[ServedModel, ...]:
    """The named adapters (else the model, under its name at the server) behind ``options.upstream``. Raises `UserError`."""
    bounds = EngineOptions(batch=options.batch, waiting=options.waiting)
    found = []
    for name, folder in options.named_adapters():
        card = read_card(folder) if folder is not None else read_card(options.model)
        if folder is not None and card is None:
            raise UserError(f"{folder} has no card of ours (agenttune.json), so nobody knows how {name} was trained")
        connection = connect(
            options.upstream, name if folder is not None else options.upstream_model, lambda _: models.load_tokenizer(options.model)
        )
        speaker = _speaker(connection, card, options, on_event)
        found.append(ServedModel(name=name, speaker=speaker, engine=Upstream(connection.model, speaker.step, bounds)))
    return tuple(found)


def _speaker(connection: Connection, card: Card | None, options: ServeOptions, on_event: Callable[[str], None]) -> Speaker:
    model, by_ids = connection.model, connection.by_ids
    model.card = card = card or _told(connection)
    protocol, template, assumed = choose(card, options.protocol, options.template)
    for sentence in (connection.how, *([] if by_ids else [NO_PARITY]), *assumed):
        on_event(sentence)
    form = templates.load_for(card, template, model.tokenizer) if by_ids else templates.load(TEMPLATE, model.tokenizer)
    spoken = protocols.get(resolve(protocol, form))
    return Speaker(model=model, template=form, protocol=spoken, rungs=() if by_ids else RUNGS)


def _told(connection: Connection) -> Card | None:
    """What another server of ours tells of its own card."""
    if not connection.protocol:
        return None
    return Card(
        base=connection.base,
        base_fingerprint="",
        protocol=connection.protocol,
        template=connection.template,
        method="",
        template_options=connection.template_options,
        observation_role=connection.observation_role,
    )
