"""The stdio transport, with bounds: a server gets the listed environment only, a message has a size, and its process group is killed.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from agenttune.agent.toolbox.mcp_servers.settings import ServerSettings
from agenttune.agent.toolbox.workers import reaper

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

MESSAGE = 4 << 20  # bytes of one message; a result is cut far below
SAID = 2000  # bytes of a server's standard error that are kept
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TERM", "TMPDIR", "USER")


class Child:
    """A server's process: what it said last on its standard error, and why it was ended."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.said = b""
        self.flooded = False
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def kill(self) -> None:
        """Ends the server and whatever it started; from any thread."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGTERM)  # to the process that watches over the server, which kills

    @contextlib.asynccontextmanager
    async def streams(
        self,
    ) -> AsyncGenerator[tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]]:
        """Starts the server. Yields what comes from it and what goes to it, as messages."""
        import anyio
        from mcp.shared.message import SessionMessage

        settings = self.settings
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", reaper.__file__, _program(settings), *settings.command[1:]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **settings.environment},
            cwd=settings.folder,
            start_new_session=True,
            limit=MESSAGE,
        )
        inward, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, outward = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, process, inward)
            tasks.start_soon(self._write, process, outward)
            tasks.start_soon(self._listen, process)
            try:
                yield incoming, outgoing
            finally:
                self.kill()
                tasks.cancel_scope.cancel()
                for stream in (inward, incoming, outgoing, outward):
                    stream.close()
                with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                    await process.wait()
                if process.returncode is None:  # it was stopped, or the machine is very busy
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
                process._transport.close()  # type: ignore[attr-defined]  # a child of the server's may hold its pipes open

    async def _read(self, process: asyncio.subprocess.Process, inward: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        import anyio
        from mcp.shared.message import SessionMessage
        from mcp_types import jsonrpc_message_adapter

        assert process.stdout is not None
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            async with inward:
                while True:
                    try:
                        line = await process.stdout.readline()
                    except ValueError:  # longer than the limit
                        self.flooded = True
                        self.kill()
                        return
                    if not line:
                        return
                    try:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    except (ValueError, RecursionError):
                        continue  # no message: servers print into their own channel, and the protocol has nothing to say to that
                    await inward.send(SessionMessage(message))

    async def _write(self, process: asyncio.subprocess.Process, outward: MemoryObjectReceiveStream[SessionMessage]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            async with outward:
                async for one in outward:
                    process.stdin.write(one.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                    await process.stdin.drain()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while piece := await process.stderr.read(1 << 16):
            self.said = (self.said + piece)[-SAID:]


def _program(settings: ServerSettings) -> str:
    """Where the program lies. Raises `FileNotFoundError` where there is none."""
    name = settings.command[0]
    found = shutil.which(name, path=settings.environment.get("PATH"))
    if found is None and not (settings.folder and os.path.dirname(name)):  # a path may be meant from the server's own folder
        raise FileNotFoundError(f"there is no program {os.path.basename(name)}")
    return found or name
