"""``agenttune serve``: loads what is to be served, listens, and ends in good order."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from agenttune import models, protocols, templates
from agenttune.agent.formats import choose
from agenttune.data.native import resolve
from agenttune.errors import UserError
from agenttune.models.hf import HFModel
from agenttune.serving.app import make_app
from agenttune.serving.backends.engine import Engine, EngineOptions
from agenttune.serving.options import ServeOptions
from agenttune.serving.prompts import Speaker
from agenttune.serving.served import Served, ServedModel
from agenttune.serving.upstream import upstream_models

T = TypeVar("T")


def serve(options: ServeOptions, *, on_event: Callable[[str], None]) -> int:
    """Serves until it is told to end (SIGTERM, Ctrl-C). Raises `UserError` for what a person must change. Returns 0."""
    options.check()
    named = options.named_adapters()
    with _listening(options.host, options.port) as line:
        loaded = upstream_models(options, on_event) if options.upstream else _models(options, named, on_event)
        try:
            _until_told(options, loaded, line, on_event)
        finally:
            for one in loaded:
                one.engine.close(seconds=1.0)
    return 0


def _until_told(options: ServeOptions, loaded: tuple[ServedModel, ...], line: socket.socket, on_event: Callable[[str], None]) -> None:
    import uvicorn

    for one in loaded:
        speaker = one.speaker
        on_event(f"{one.name}: {speaker.protocol.name}, template {speaker.template.name}, context {speaker.model.context:,} tokens")
    host = f"[{options.host}]" if ":" in options.host else options.host
    on_event(f"listening on http://{host}:{line.getsockname()[1]}/v1; Ctrl-C ends")
    served = Served(
        models=loaded, api_key=options.api_key, hosts=(options.host,), most_tokens=options.max_new_tokens, created=int(time.time())
    )
    seconds = max(1, round(options.drain))
    config = uvicorn.Config(make_app(served), log_level="warning", lifespan="off", timeout_graceful_shutdown=seconds, server_header=False)
    uvicorn.Server(config).run(sockets=[line])


def _models(options: ServeOptions, named: list[tuple[str, str | None]], on_event: Callable[[str], None]) -> tuple[ServedModel, ...]:
    """Each with an engine of its own, all over one copy of the base's weights; the bytes for kept prefixes are shared out."""
    on_event(f"loading {', '.join(name for name, _ in named)}")
    loaded = apart(lambda: _loaded(options, named))
    bounds = EngineOptions(batch=options.batch, waiting=options.waiting, cache_bytes=(options.cache_mb << 20) // len(named))
    return tuple(
        ServedModel(name=name, speaker=_speaker(one, options, on_event), engine=Engine(one, bounds, token_bytes=one.token_bytes))
        for (name, _), one in zip(named, loaded, strict=True)
    )


def _loaded(options: ServeOptions, named: list[tuple[str, str | None]]) -> tuple[HFModel, ...]:
    how = {"device": options.device, "dtype": options.dtype}
    if len(named) == 1:
        return (models.load(options.model, adapter=named[0][1], **how, bits=options.bits),)
    return models.load_many(options.model, [folder for _, folder in named], **how, bits=options.bits)


def apart(work: Callable[[], T]) -> T:
    """What `work` returns or raises, done in a thread that has ended by then.

    torch's OpenMP on Linux (libgomp) keeps helper threads for each thread that has computed, until that one ends. Where all of them
    are more than there are cores, it spins a hundred times in place of many thousands before it waits in the kernel (libgomp's manual,
    ``GOMP_SPINCOUNT``): an engine beside a main thread that has computed took 1.7 times as long for a token on two cores.
    """
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:  # it is raised again in the thread that waits
            found.set_exception(error)

    thread = threading.Thread(target=run, name="agenttune-load", daemon=True)
    thread.start()
    made = found.result()
    thread.join()
    return made


def _speaker(model: HFModel, options: ServeOptions, on_event: Callable[[str], None]) -> Speaker:
    protocol, template, assumed = choose(model.card, options.protocol, options.template)
    for sentence in assumed:
        on_event(sentence)
    form = templates.load_for(model.card, template, model.tokenizer)
    return Speaker(model=model, template=form, protocol=protocols.get(resolve(protocol, form)))


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
