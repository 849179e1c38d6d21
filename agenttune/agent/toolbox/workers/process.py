"""The parent's end of a worker process: started when first needed, killed at a deadline, replaced at the next request."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttune.agent.toolbox.workers.printed import Printed

_WORKER = Path(__file__).with_name("worker.py")
_START = 30.0  # seconds for the interpreter to start on a busy machine
_END = 0.8  # seconds in which a worker that is told to end does so, with all that it started; then it is killed
_PIECE = 1 << 16  # bytes read or written at a time


class DeadlineExceeded(Exception):
    """The work did not finish before its deadline; its process has been killed."""


class ProcessEnded(Exception):
    """The process ended by itself."""


class BadReply(Exception):
    """What came through the channel is no reply; the process has been killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the worker answered: its text, whether that is an error, and whether the tool returned nothing at all."""

    text: str
    error: bool
    nothing: bool


class WorkerProcess:
    """One worker process at a time. Not for several threads at once. `printed` is what the tools of the last request printed."""

    def __init__(self, *, memory: int | None, limit: int) -> None:
        self.memory = memory
        self.limit = limit
        self.printed = Printed(limit)
        self._child: subprocess.Popen[bytes] | None = None
        self._replies = -1
        self._worker: int | None = None
        self._asked = 0

    @property
    def pid(self) -> int | None:
        """The living worker's process id; None before the first request and after a kill."""
        return self._worker if self._child is not None and self._child.poll() is None else None

    def ask(self, request: dict[str, Any], deadline: float) -> Reply:
        """The reply to a request within `deadline` seconds. Whatever ends the wait early kills the process.

        Raises `DeadlineExceeded`, `ProcessEnded` or `BadReply`.
        """
        try:
            if self.pid is None or _readable(self._replies):  # nothing was asked, so whatever lies there is no reply
                self._start()
            self._asked += 1
            self.printed = Printed(self.limit)
            return _reply(self._exchange({**request, "id": self._asked}, deadline), self._asked)
        except BaseException:  # a Ctrl-C too: half an exchange must never be read as the next one's
            self.close()
            raise

    def _start(self) -> None:
        self.close()
        self._replies, theirs = os.pipe()
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-X", "utf8", str(_WORKER), str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=[theirs],
                start_new_session=True,  # the terminal's Ctrl-C is the parent's; a kill reaches the tool's own children
            )
        finally:
            os.close(theirs)
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._worker = None
        greeting = {"path": [os.path.abspath(entry) for entry in sys.path], "memory": self.memory, "limit": self.limit}
        try:
            self._worker = int(self._exchange(greeting, _START)["worker"])
        except (DeadlineExceeded, KeyError, TypeError, ValueError) as error:
            raise ProcessEnded("it did not start") from error

    def _exchange(self, message: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Writes a message and reads the next line, never waiting for either longer than the deadline; keeps what is printed meanwhile."""
        child = self._child
        assert child is not None and child.stdin is not None and child.stdout is not None and child.stderr is not None
        data, line = memoryview(json.dumps(message).encode() + b"\n"), bytearray()
        end = time.monotonic() + deadline
        with selectors.DefaultSelector() as ready:
            ready.register(child.stdin, selectors.EVENT_WRITE)
            for descriptor in (self._replies, child.stdout.fileno(), child.stderr.fileno()):
                ready.register(descriptor, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if time.monotonic() >= end:
                    raise DeadlineExceeded
                for key, _ in ready.select(max(end - time.monotonic(), 0)):
                    if key.fileobj is child.stdin:
                        data = self._write(child.stdin.fileno(), data)
                        if not data:
                            ready.unregister(child.stdin)
                    elif key.fd == self._replies:
                        line += self._read(line)
                    elif not self._keep(key.fd, key.fd == child.stdout.fileno()):
                        ready.unregister(key.fd)
        for descriptor in (child.stdout.fileno(), child.stderr.fileno()):
            while time.monotonic() < end and self._keep(descriptor, descriptor == child.stdout.fileno()):
                pass
        return _object(bytes(line))

    def _write(self, descriptor: int, data: memoryview) -> memoryview:
        try:
            return data[os.write(descriptor, data[:_PIECE]) :]
        except BlockingIOError:
            return data
        except OSError as error:
            raise ProcessEnded(self._ended()) from error

    def _read(self, before: bytearray) -> bytes:
        piece = os.read(self._replies, _PIECE)
        if not piece:
            raise ProcessEnded(self._ended())
        if len(before) + len(piece) > 12 * self.limit + 4096:  # the worker cuts its texts; a letter is at most 12 bytes of JSON
            raise BadReply
        if b"\n" in piece[:-1]:
            raise BadReply
        return piece

    def _keep(self, descriptor: int, is_output: bool) -> bool:
        """Takes in what was printed; whether there was anything."""
        try:
            piece = os.read(descriptor, _PIECE)
        except OSError:
            return False
        self.printed.add(piece, is_output)
        return bool(piece)

    def _ended(self) -> str:
        assert self._child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._child.wait(timeout=1.0)
            return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return "its pipe closed"

    def close(self) -> None:
        """Ends the process and whatever it started, also what hid in a session of its own. A later request starts another."""
        child, self._child = self._child, None
        replies, self._replies = self._replies, -1
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_END)
        if child.returncode in (None, -signal.SIGKILL):  # it was stopped or killed by a tool, or the machine is very busy
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.kill()
            child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        os.close(replies)


def _readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _object(line: bytes) -> dict[str, Any]:
    try:
        made = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadReply from error
    if not isinstance(made, dict):
        raise BadReply
    return made


def _reply(made: dict[str, Any], asked: int) -> Reply:
    """The reply to the request of that number; a tool that writes into the channel itself cannot pass for one by chance."""
    text, error, nothing = made.get("text"), made.get("error"), made.get("nothing")
    if made.get("id") != asked or not isinstance(text, str) or not isinstance(error, bool) or not isinstance(nothing, bool):
        raise BadReply
    return Reply(text=text, error=error, nothing=nothing)
