"""The only door through which a model's call reaches a tool."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Sequence
from types import TracebackType

from agenttune.agent.toolbox.answers import LIMIT, ArgumentsError, cut
from agenttune.agent.toolbox.functions import Tool
from agenttune.agent.toolbox.process import DeadlineExceeded, ProcessEnded, WorkerProcess
from agenttune.errors import UserError, nearest
from agenttune.values.trajectory import Malformed, Observation, ToolCall, ToolSpec

MEMORY = 2 << 30  # bytes of address space for a worker


class Toolbox:
    """Tools by name.

    Work runs in one worker process with a limit of `memory` bytes (None: no limit), which is killed at a call's deadline and
    replaced at the next call; the process is ended by `close`, by leaving a ``with`` block, and with the parent.
    With ``inline=True`` tools run in this process, with no deadline: for trusted, pure tools. An observation has at most `limit`
    characters. Raises `UserError` for two tools of one name, and for a local function where a worker is wanted.
    """

    def __init__(self, tools: Sequence[Tool], *, inline: bool = False, limit: int = LIMIT, memory: int | None = MEMORY) -> None:
        self.tools = {one.spec.name: one for one in tools}
        self.inline = inline
        self.limit = limit
        self._lock = threading.Lock()
        self._process = WorkerProcess(memory=memory, limit=limit)
        self._end = weakref.finalize(self, self._process.close)
        for name in self.tools:
            if sum(one.spec.name == name for one in tools) > 1:
                raise UserError(f'two tools are named "{name}"; a model could not tell them apart')
        for one in tools:
            if not inline and one.origin is None:
                raise UserError(f"the tool {one.spec.name} is not at the top of a file, so a worker process cannot find it again")

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told, in the order the tools were given."""
        return tuple(one.spec for one in self.tools.values())

    @property
    def worker(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._process.pid

    def run(self, calls: Sequence[ToolCall | Malformed], deadline: float = 30.0) -> tuple[Observation, ...]:
        """One observation for each call, one call after the other in their order, each within `deadline` seconds.

        Whatever goes wrong with a call is an observation with its error flag set, never an exception.
        """
        with self._lock:
            return tuple(self._observe(call, deadline) for call in calls)

    def _observe(self, call: ToolCall | Malformed, deadline: float) -> Observation:
        if isinstance(call, Malformed):
            return self._error(f"the call could not be read: {call.reason}")
        seen = self._answer(call, deadline)
        return dataclasses.replace(seen, call_id=call.id)

    def _answer(self, call: ToolCall, deadline: float) -> Observation:
        one = self.tools.get(call.name)
        if one is None:
            listed = f"the tools are {', '.join(self.tools)}" if self.tools else "there are no tools"
            return self._error(f'there is no tool "{call.name}"{nearest(call.name, self.tools)}; {listed}')
        try:
            keywords = one.keywords(call.arguments)
        except ArgumentsError as error:
            return self._error(str(error))
        if self.inline:
            text, failed = one.attempt(keywords, self.limit)
            return Observation(text=text, error=failed, trusted=one.trusted)
        assert one.origin is not None
        request = {"origin": dataclasses.asdict(one.origin), "keywords": keywords, "deadline": deadline}
        try:
            reply = self._process.ask(request, deadline)
        except DeadlineExceeded:
            return self._error(f"{call.name} did not finish in {deadline:g} s and was stopped")
        except ProcessEnded as error:
            return self._error(f"{call.name} ended its process ({error})")
        return Observation(text=reply["text"], error=reply["error"], trusted=one.trusted)

    def _error(self, sentence: str) -> Observation:
        return Observation(text=cut(f"Error: {sentence}", self.limit), error=True)

    def close(self) -> None:
        """Ends the worker, if there is one. Not while another thread waits in `run`."""
        self._process.close()

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
