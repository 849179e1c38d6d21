"""What ``agenttune tools doctor`` finds: whether tools load, servers answer, and what about a signature a model may misread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agenttune.agent.toolbox.find import left_out, load, shipped_names
from agenttune.agent.toolbox.signatures.functions import Tool
from agenttune.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """One tool, server or name: what it does (empty for a server), sentences about it, and whether it cannot be used."""

    name: str
    effect: str = ""
    notes: tuple[str, ...] = ()
    broken: bool = False


def check_tools(names: Sequence[str], mcp: Path | None = None, *, loopback: bool = False) -> Iterator[Checkup]:
    """Looks at the named tools (all shipped ones where none is named) and at the servers of the file `mcp`, one after the other."""
    for name in names or (() if mcp else shipped_names()):
        try:
            yield from map(_checkup, load(name, loopback=loopback))
        except UserError as error:
            yield Checkup(name=name, notes=(str(error),), broken=True)
            continue
        if said := left_out(name):
            yield Checkup(name=name, notes=(said,))
    if mcp is not None:
        yield from _servers(mcp)


def _checkup(one: Tool) -> Checkup:
    needs = (f"needs {one.needs}",) if one.needs else ()
    return Checkup(name=one.spec.name, effect=str(one.effect or "undeclared"), notes=(*needs, *one.warnings))


def _servers(mcp: Path) -> Iterator[Checkup]:
    from agenttune.agent.toolbox.mcp_servers.servers import McpServers
    from agenttune.agent.toolbox.mcp_servers.settings import read_servers

    for settings in read_servers(mcp):
        ignored = (f"keys that mean nothing here: {', '.join(settings.ignored)}",) if settings.ignored else ()
        servers = McpServers([settings])
        try:
            tools = servers.tools()
            trusted = "its hints are believed" if settings.trusted else "its hints are not believed (trusted is not set)"
            yield Checkup(name=settings.name, notes=(f"an MCP server with {len(tools)} tools; {trusted}", *ignored))
            yield from map(_checkup, tools)
        except UserError as error:
            yield Checkup(name=settings.name, notes=(str(error), *ignored), broken=True)
        finally:
            servers.close()
