"""One MCP server: a task of its own on the background loop that connects, serves calls, and is replaced when it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from agenttune.agent.toolbox.answers import ToolError, described
from agenttune.agent.toolbox.mcp_servers.pipes import MESSAGE, Child
from agenttune.agent.toolbox.mcp_servers.settings import ServerSettings
from agenttune.values.trajectory import JsonObject

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool

PAGES, TOOLS = 20, 500  # of a server's list of tools


class ServerConnection:
    """The connection to a server, made when it is first needed and again after it was lost. All its methods run on the loop."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.child: Child | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Client] | None = None

    async def tools(self) -> list[Tool]:
        """What the server offers. Raises `ToolError`."""
        client = await self._connected()
        found: list[Tool] = []
        cursor = None
        for _ in range(PAGES):
            page = await self._owned(client.list_tools(cursor=cursor, cache_mode="bypass"))
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) > TOOLS:
                break
        return found[:TOOLS]

    async def call(self, name: str, arguments: JsonObject) -> CallToolResult:
        """One call. Raises `ToolError` where the server refuses it, ends, or sends what is no answer."""
        client = await self._connected()
        result: CallToolResult = await self._owned(client.call_tool(name, dict(arguments)))
        return result

    async def close(self) -> None:
        """Ends the connection, and the server with it if we started it."""
        task, self._task, self._ready = self._task, None, None
        if self.child is not None:
            self.child.kill()
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=1.0)

    async def _connected(self) -> Client:
        if self._task is None or self._task.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._keep(self._ready))
        assert self._ready is not None
        return await asyncio.shield(self._ready)

    async def _keep(self, ready: asyncio.Future[Client]) -> None:
        """Holds the connection open until it is cancelled or lost."""
        try:
            async with self._client() as client:
                ready.set_result(client)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not ready.done():
                ready.set_exception(ToolError(self._lost("it could not be reached")))
                ready.exception()  # whoever waited for it may have gone
            raise
        except BaseException as error:
            if not ready.done():
                ready.set_exception(ToolError(self._lost(f"it could not be reached: {_reason(error)}")))

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncGenerator[Client]:
        from mcp import Client
        from mcp_types import Implementation

        from agenttune import __version__

        about = Implementation(name="agenttune", version=__version__)
        if self.settings.command:
            self.child = Child(self.settings)
            async with Client(self.child.streams(), client_info=about, cache=None) as client:
                yield client
            return
        from mcp.client.streamable_http import streamable_http_client

        from agenttune.agent.toolbox.mcp_servers.bounded_http import bounded_client

        async with bounded_client(self.settings.headers, MESSAGE) as http:
            streams = streamable_http_client(self.settings.url, http_client=http, max_sse_event_size=MESSAGE)
            async with Client(streams, client_info=about, cache=None) as client:
                yield client

    async def _owned(self, work: Any) -> Any:
        """The result of `work` in a task of its own, so that neither a lost connection nor a cancelled scope reaches the caller."""
        task = asyncio.ensure_future(work)
        assert self._task is not None
        await asyncio.wait([task, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():  # the connection has ended under it
            await asyncio.wait([task], timeout=0.2)
        if not task.done() or task.cancelled():
            task.cancel()
            raise ToolError(self._lost("it ended in the middle of the call"))
        error = task.exception()
        if error is None:
            return task.result()
        if getattr(error, "code", None) == -32000 or (self.child is not None and self.child.pid is None):  # connection closed
            await self.close()
            raise ToolError(self._lost("it ended in the middle of the call"))
        raise ToolError(f"the server {self.settings.name}: {_reason(error)}")

    def _lost(self, what: str) -> str:
        flooded = self.child is not None and self.child.flooded
        said = "" if self.child is None else self.child.said.decode("utf-8", "replace").strip().rpartition("\n")[2][-200:]
        what = f"it sent more than {MESSAGE >> 20} MiB in one message and was ended" if flooded else what
        return f"the server {self.settings.name}: {what}" + (f" (it said: {said})" if said else "")


def _reason(error: BaseException) -> str:
    """An error in a line; of a group the first one that says something."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return described(error)
