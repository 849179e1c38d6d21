"""Contenders as processes that are asked in turn: jobs go in a line at a time, answers come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent


class Died(RuntimeError):
    """A contender's process ended while it was asked, of too little memory for instance."""

    def why(self) -> str:
        """The last thing it wrote."""
        return next((line.strip()[:160] for line in reversed(str(self).splitlines()) if line.strip()), "")


class Contender:
    """One process of `contend.py`. It waits between jobs, so that several can take turns."""

    def __init__(self, kind: str, model: Path, dtype: str, threads: int, python: str = sys.executable, log: Path | None = None) -> None:
        self.kind = kind
        self.command = [python, str(HERE / "contend.py"), kind, str(model), dtype, str(threads)]
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HERE.parents[1])}
        self.log = (log or model.parent) / f"{kind}.log"
        self.start()

    def start(self) -> None:
        """A new process, at the beginning and in place of one that died."""
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("a"), text=True, env=self.environment
        )

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """The answer to one job. Raises `Died` with the end of its log where the process has ended."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, "with": given}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise Died(f"{self.kind} died:\n{self.log.read_text(errors='replace')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
