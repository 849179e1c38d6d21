"""The file that names MCP servers: the ``mcpServers`` JSON that other programs read too."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agenttune.agent.toolbox.permissions import Effect, effect_named
from agenttune.errors import UserError
from agenttune.files import read_text

_KNOWN = ("command", "args", "env", "cwd", "url", "headers", "type", "transport", "disabled", "trusted", "effects")
_HTTP = ("http", "streamable-http", "streamable_http", "streamableHttp")
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """One server: a command that is started and spoken to over its pipes, or the URL of one that runs already.

    `trusted` says that the person believes what the server says of its tools; `effects` says it for single tools in the server's
    place; `ignored` names keys of the file that mean nothing here.
    """

    name: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = False
    effects: Mapping[str, Effect] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def read_servers(path: Path) -> tuple[ServerSettings, ...]:
    """The servers of a file, without the disabled ones. ``${NAME}`` in a value is the environment's. Raises `UserError`."""
    text = read_text(path, "MCP server")
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    listed = held.get("mcpServers") if isinstance(held, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise UserError(f'{path} names no server; it is {{"mcpServers": {{"NAME": {{"command": …, "args": […]}} or {{"url": …}}}}}}')
    return tuple(_server(name, one, f"{path}, server {name}") for name, one in listed.items() if not _disabled(one))


def _disabled(one: object) -> bool:
    return isinstance(one, dict) and one.get("disabled") is True


def _server(name: str, one: Any, where: str) -> ServerSettings:
    if not isinstance(one, dict):
        raise UserError(f"{where}: it must be an object with a command or a url")
    kind = one.get("type", one.get("transport", ""))
    if kind not in ("", "stdio", *_HTTP):
        raise UserError(f'{where}: the transport "{kind}" is not spoken; use a command (stdio) or a url (streamable HTTP)')
    if isinstance(one.get("command"), str) == isinstance(one.get("url"), str):
        raise UserError(f"{where}: it needs either a command or a url")
    if not isinstance(one.get("trusted", False), bool):
        raise UserError(f"{where}: trusted must be true or false")
    folder, url = one.get("cwd"), one.get("url", "")
    if url and not re.match(r"https?://", url):
        raise UserError(f"{where}: the url must begin with http:// or https://")
    return ServerSettings(
        name=name,
        command=(_filled(one["command"], where), *_texts(one.get("args", []), f"{where}: args")) if "command" in one else (),
        environment=_named_texts(one.get("env", {}), f"{where}: env"),
        folder=folder if isinstance(folder, str) else None,
        url=_filled(url, where),
        headers=_named_texts(one.get("headers", {}), f"{where}: headers"),
        trusted=one.get("trusted", False),
        effects={tool: effect_named(said, f"{where}: effects") for tool, said in _named_texts(one.get("effects", {}), where).items()},
        ignored=tuple(key for key in one if key not in _KNOWN),
    )


def _texts(listed: Any, where: str) -> tuple[str, ...]:
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise UserError(f"{where} must be a list of texts")
    return tuple(_filled(one, where) for one in listed)


def _named_texts(listed: Any, where: str) -> dict[str, str]:
    if not isinstance(listed, dict) or not all(isinstance(one, str) for one in listed.values()):
        raise UserError(f"{where} must be an object of texts")
    return {name: _filled(one, where) for name, one in listed.items()}


def _filled(text: str, where: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise UserError(f"{where}: the environment has no {found[1]}; set it, or write the value into the file")
        return os.environ[found[1]]

    return _VARIABLE.sub(value, text)
