"""What a person asks of a server; it needs none of the libraries that serve."""

from __future__ import annotations

import importlib.util
import ipaddress
from dataclasses import dataclass

from agenttune.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What a person asks of a server. `adapters` are ``NAME=DIR`` or ``DIR``; each is served under its name, the base where there is none.
    ``NAME=`` is the base beside adapters.

    With `upstream` the tokens are said by an OpenAI-compatible server there; `model` is then the base whose tokenizer it has, each
    adapter's name is its name there, and `upstream_model` the base's (empty: the first that it lists).
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
    upstream: str = ""
    upstream_model: str = ""

    def named_adapters(self) -> list[tuple[str, str | None]]:
        """(name, folder or None for the base alone) of what is served. Raises `UserError`.

        >>> ServeOptions(model="smollm2-135m", adapters=("desk=runs/demo/adapter",)).named_adapters()
        [('desk', 'runs/demo/adapter')]
        """
        if not self.adapters:
            return [(self.model, None)]
        found: dict[str, str | None] = {}
        for text in self.adapters:
            name, equals, folder = text.partition("=")
            name, folder = (name, folder) if equals else (text.rstrip("/").rsplit("/", 1)[-1], text)
            if not name:
                raise UserError(f"--adapter takes NAME=DIR, not {text!r}")
            if name in found:
                raise UserError(f'two adapters are named "{name}"; give one another name: --adapter NAME=DIR')
            found[name] = folder or None
        return list(found.items())

    def check(self) -> None:
        """Raises `UserError` for bounds that make no sense, and for a door that is open to others without a key."""
        try:
            local = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            local = self.host == "localhost"
        if not local and not self.api_key:
            raise UserError(f"{self.host} can be reached by others: give --api-key, or listen on 127.0.0.1")
        if self.upstream and self.bits is not None:
            raise UserError("--bits loads a model here, and with --upstream none is: leave it away")
        if self.upstream_model and not self.upstream:
            raise UserError("--upstream-model names a model of the server that --upstream names")
        if min(self.batch, self.max_new_tokens) < 1 or min(self.waiting, self.cache_mb) < 0:
            raise UserError("--batch and --max-new-tokens must be 1 or more, --queue and --cache-mb 0 or more")


def needs() -> None:
    """Raises `UserError` where the libraries of the extra ``serve`` are missing."""
    missing = [name for name in ("starlette", "uvicorn", "prometheus_client") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"serving needs {', '.join(missing)}: pip install agenttune[serve]")
