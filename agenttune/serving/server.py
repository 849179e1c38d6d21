"""``agenttune serve``: loads what is to be served, listens, and ends in good order."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from agenttune import models, protocols, templates
from agenttune.errors import UserError
from agenttune.models.hf import HFModel
from agenttune.serving.app import Served, ServedModel, make_app
from agenttune.serving.engine import Engine, EngineOptions
from agenttune.serving.prompts import Speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What a person asks of a server. `adapters` are ``NAME=DIR`` or ``DIR``; each is served under its name, the base where there is none.

    `drain` is how many seconds running requests are given when the server is told to end.
    """

    model: str
    adapters: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str = ""
    protocol: str | None = None
    template: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    bits: int | None = None
    batch: int = 16
    waiting: int = 64
    cache_mb: int = 1024
    max_new_tokens: int = 1024
    drain: float = 10.0


def serve(options: ServeOptions, *, on_event: Callable[[str], None]) -> int:
    """Serves until it is told to end (SIGTERM, Ctrl-C). Raises `UserError` for what a person must change. Returns 0."""
    import uvicorn

    _refuse_open_door(options)
    line = _listening(options.host, options.port)
    served = Served(
        models=tuple(_model(options, name, folder, on_event) for name, folder in named_adapters(options)),
        api_key=options.api_key,
        hosts=(options.host,),
        most_tokens=options.max_new_tokens,
        created=int(time.time()),
    )
    for one in served.models:
        speaker = one.speaker
        on_event(f"{one.name}: {speaker.protocol.name}, template {speaker.template.name}, context {speaker.model.context:,} tokens")
    host = f"[{options.host}]" if ":" in options.host else options.host
    on_event(f"listening on http://{host}:{line.getsockname()[1]}/v1; Ctrl-C ends")
    seconds = max(1, round(options.drain))
    config = uvicorn.Config(make_app(served), log_level="warning", lifespan="off", timeout_graceful_shutdown=seconds, server_header=False)
    try:
        uvicorn.Server(config).run(sockets=[line])
    finally:
        for one in served.models:
            one.engine.close(seconds=1.0)
    return 0


def named_adapters(options: ServeOptions) -> list[tuple[str, str | None]]:
    """(name, folder or None for the base alone) of what is served. Raises `UserError`.

    >>> named_adapters(ServeOptions(model="smollm2-135m", adapters=("desk=runs/demo/adapter",)))
    [('desk', 'runs/demo/adapter')]
    """
    if not options.adapters:
        return [(options.model, None)]
    found: dict[str, str | None] = {}
    for text in options.adapters:
        name, equals, folder = text.partition("=")
        name, folder = (name, folder) if equals else (text.rstrip("/").rsplit("/", 1)[-1], text)
        if not name or not folder:
            raise UserError(f"--adapter takes NAME=DIR, not {text!r}")
        if name in found:
            raise UserError(f'two adapters are named "{name}"; give one another name: --adapter NAME=DIR')
        found[name] = folder
    return list(found.items())


def _model(options: ServeOptions, name: str, adapter: str | None, on_event: Callable[[str], None]) -> ServedModel:
    on_event(f"loading {name}")
    loaded = models.load(options.model, adapter=adapter, device=options.device, dtype=options.dtype, bits=options.bits)
    speaker = _speaker(loaded, options, on_event)
    bounds = EngineOptions(batch=options.batch, waiting=options.waiting, cache_bytes=options.cache_mb << 20)
    return ServedModel(name=name, speaker=speaker, engine=Engine(loaded, bounds, token_bytes=loaded.token_bytes))


def _speaker(model: HFModel, options: ServeOptions, on_event: Callable[[str], None]) -> Speaker:
    card = model.card
    if card is None and options.protocol is None:
        on_event("no card of ours: assumed the protocol react and the tokenizer's own chat template (--protocol, --template)")
    protocol = options.protocol or (card.protocol if card else "react")
    template = options.template or (card.template if card else "auto")
    return Speaker(model=model, template=templates.load(template, model.tokenizer), protocol=protocols.get(protocol))


def _refuse_open_door(options: ServeOptions) -> None:
    try:
        local = ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        local = options.host == "localhost"
    if not local and not options.api_key:
        raise UserError(f"{options.host} can be reached by others: give --api-key, or listen on 127.0.0.1")
    if any(bound < 1 for bound in (options.batch, options.max_new_tokens)) or options.waiting < 0:
        raise UserError("--batch and --max-new-tokens must be 1 or more, --queue 0 or more")


def _listening(host: str, port: int) -> socket.socket:
    """The socket, bound before a model is loaded. Raises `UserError` for a port in use or a host that is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    line = socket.socket(family, socket.SOCK_STREAM)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        line.bind((host, port))
        line.listen(128)
    except (OSError, OverflowError) as error:
        line.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"cannot listen on {host}:{port} ({reason}); name another with --port") from error
    return line
