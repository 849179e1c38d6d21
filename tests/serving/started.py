"""``agenttune serve`` as a person starts it: a process of its own, spoken to over its port, ended by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = 120.0  # seconds


@dataclass(slots=True)
class Started:
    """A running server: its process, what it said, and its address up to ``/v1``."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Its address."""
        return self.lines[-1].split("listening on ")[1].split(";")[0]

    @property
    def port(self) -> int:
        """The port that it took."""
        return int(self.base.removesuffix("/v1").rpartition(":")[2])

    def end(self) -> float:
        """Tells it to end by SIGTERM; the seconds that it took. It ends as it should, or this fails."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=READY)
        assert self.process.returncode in (0, -signal.SIGTERM)
        return time.monotonic() - began


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[Started]:
    """A server with these arguments on a free port. It is ended, if the block has not done so."""
    command = [sys.executable, "-m", "agenttune", "serve", *arguments, "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = Started(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ))
    assert found.process.stderr is not None
    try:
        while "listening on " not in (found.lines[-1] if found.lines else ""):
            found.lines.append(found.process.stderr.readline())
            assert found.lines[-1], f"the server ended: {found.lines}"
        yield found
        if found.process.poll() is None:
            assert found.end() < 15
    finally:
        found.process.kill()
        found.process.communicate()
