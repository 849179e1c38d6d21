"""The parent's end of a worker process: started when first needed, killed at a deadline, replaced at the next request."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_WORKER = Path(__file__).with_name("worker.py")
_START = 30.0  # seconds for the interpreter to start on a busy machine
_REPLY = 1 << 26  # bytes of one reply; the worker cuts its texts far below


class DeadlineExceeded(Exception):
    """The work did not finish before its deadline; its process has been killed."""


class ProcessEnded(Exception):
    """The process ended by itself."""


class WorkerProcess:
    """One worker process at a time. Not for several threads at once."""

    def __init__(self, *, memory: int | None, limit: int) -> None:
        self.memory = memory
        self.limit = limit
        self._child: subprocess.Popen[bytes] | None = None
        self._read = b""

    @property
    def pid(self) -> int | None:
        """The living process's id; None before the first request and after a kill."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def ask(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        """The reply to a request within `deadline` seconds. Whatever ends the wait early kills the process.

        Raises `DeadlineExceeded` or `ProcessEnded`.
        """
        try:
            if self.pid is None:
                self._start()
            self._send(request)
            return self._receive(deadline)
        except BaseException:  # a Ctrl-C too: half an exchange must never be read as the next one's
            self.close()
            raise

    def _start(self) -> None:
        self.close()
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-X", "utf8", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # the terminal's Ctrl-C is the parent's; a kill reaches the tool's own children
        )
        self._send({"path": [os.path.abspath(entry) for entry in sys.path], "memory": self.memory, "limit": self.limit})
        try:
            self._receive(_START)
        except DeadlineExceeded as error:
            raise ProcessEnded("it did not start") from error

    def _send(self, message: dict[str, Any]) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        data = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while data:
                data = data[self._child.stdin.write(data) :]
        except OSError as error:
            raise ProcessEnded(self._ended()) from error

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self._child is not None
        assert self._child.stdout is not None
        end = time.monotonic() + deadline
        with selectors.DefaultSelector() as ready:
            ready.register(self._child.stdout, selectors.EVENT_READ)
            while b"\n" not in self._read:
                if not ready.select(max(end - time.monotonic(), 0)):
                    raise DeadlineExceeded
                piece = os.read(self._child.stdout.fileno(), 1 << 16)
                if not piece or len(self._read) > _REPLY:
                    raise ProcessEnded(self._ended())
                self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _ended(self) -> str:
        assert self._child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._child.wait(timeout=1.0)
            return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return "its pipe closed"

    def close(self) -> None:
        """Kills the process and what it started. A later request starts another."""
        child, self._child, self._read = self._child, None, b""
        if child is None:
            return
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
