"""MCP servers as tools: one background loop for all of them, a deadline for every call."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from agenttune.agent.toolbox.answers import ToolError
from agenttune.agent.toolbox.mcp_servers.connection import ServerConnection
from agenttune.agent.toolbox.mcp_servers.offers import result_text, tool_of
from agenttune.agent.toolbox.mcp_servers.settings import ServerSettings
from agenttune.agent.toolbox.names import free_name, usable_name
from agenttune.agent.toolbox.signatures.functions import Remote, Tool
from agenttune.errors import UserError
from agenttune.values.trajectory import JsonObject

if TYPE_CHECKING:
    from mcp_types import Tool as OfferedTool

START = 60.0  # seconds for all servers to start and to say what they offer
Result = TypeVar("Result")


class McpServers:
    """The servers of one file. `tools` starts them; `close` ends them, as does the end of this process."""

    def __init__(self, settings: Sequence[ServerSettings]) -> None:
        try:
            import mcp  # noqa: F401
        except ImportError as error:
            raise UserError("MCP servers need the extra agenttune[mcp]: pip install 'agenttune[mcp]'") from error
        logging.getLogger("mcp").addHandler(logging.NullHandler())  # what goes wrong is told in our words, not as a traceback
        self.connections = [ServerConnection(one) for one in settings]
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(self._loop,), name="agenttune-mcp", daemon=True).start()
        self._end = weakref.finalize(self, _close, self._loop, self.connections)

    def tools(self, taken: Collection[str] = ()) -> tuple[Tool, ...]:
        """Every tool of every server; a name of `taken`, or of two servers, gets its server's in front.

        Raises `UserError` for a server that cannot be used.
        """
        offered = [(one, self._offered(one)) for one in self.connections]
        counts = Counter(usable_name(tool.name) for _, tools in offered for tool in tools)
        found: dict[str, Tool] = {}
        for connection, tools in offered:
            for tool in tools:
                name = usable_name(tool.name)
                name = usable_name(f"{connection.settings.name}_{name}") if counts[name] > 1 or name in taken else name
                name = free_name(name, {*taken, *found})
                found[name] = tool_of(tool, name, connection.settings, self._remote(connection, tool.name))
        return tuple(found.values())

    def _offered(self, connection: ServerConnection) -> list[OfferedTool]:
        try:
            offered = self._await(connection, connection.tools(), START)
        except ToolError as error:
            raise UserError(f"{error}; see agenttune tools doctor --mcp FILE") from error
        return list({tool.name: tool for tool in offered}.values())

    def _remote(self, connection: ServerConnection, name: str) -> Remote:
        def call(arguments: JsonObject, deadline: float) -> tuple[str, bool]:
            if not self._end.alive:
                raise ToolError(f"the server {connection.settings.name} was closed with its toolbox")
            result = self._await(connection, connection.call(name, arguments), deadline)
            return result_text(result), bool(result.is_error)

        return call

    def _await(self, connection: ServerConnection, work: Coroutine[Any, Any, Result], deadline: float) -> Result:
        """The result of `work` on the loop. At the deadline the server is ended, so that nothing of it goes on; the next call starts it."""
        waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waiting.result(deadline)
        except concurrent.futures.TimeoutError:
            raise ToolError(f"the server {connection.settings.name} did not answer in {deadline:g} s") from None
        finally:
            if not waiting.done() or waiting.cancelled():
                waiting.cancel()
                if connection.child is not None:
                    connection.child.kill()
                _quietly(self._loop, connection.close)

    def close(self) -> None:
        """Ends every connection and every server that was started."""
        self._end()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(lambda *_: None)  # a broken server's leftovers; what matters comes as a result
    loop.run_forever()
    loop.close()


def _quietly(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, None]], seconds: float = 0.8) -> None:
    ended = asyncio.run_coroutine_threadsafe(work(), loop)
    concurrent.futures.wait([ended], timeout=seconds)


def _close(loop: asyncio.AbstractEventLoop, connections: Sequence[ServerConnection]) -> None:
    if loop.is_closed():
        return
    for one in connections:
        if one.child is not None:
            one.child.kill()
        _quietly(loop, one.close, 2.0)
    loop.call_soon_threadsafe(loop.stop)
