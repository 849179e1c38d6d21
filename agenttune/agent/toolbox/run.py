"""The only door through which a model's call reaches a tool."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Literal

from agenttune.agent.toolbox.answers import LIMIT, ArgumentsError, ToolError, cut, described
from agenttune.agent.toolbox.permissions import UNDECLARED, Ask, Effect, Permissions
from agenttune.agent.toolbox.signatures.functions import Remote, Tool
from agenttune.agent.toolbox.workers.process import BadReply, DeadlineExceeded, ProcessEnded, WorkerProcess
from agenttune.errors import UserError, nearest
from agenttune.values.trajectory import JsonObject, Malformed, Observation, ToolCall, ToolSpec

TOGETHER = 4  # calls at the same time, at most
MEMORY = 2 << 30  # bytes of address space for a worker
OnPrint = Callable[[ToolCall, str], object]  # told what a call's tool printed
Wary = Callable[[ToolCall], str]  # why a person is asked before this call, whatever was allowed before; empty for no reason


class Toolbox:
    """Tools by name.

    Work runs in one worker process with a limit of `memory` bytes (None: no limit), which is killed at a call's deadline and
    replaced at the next call; the process is ended by `close`, by leaving a ``with`` block, and with the parent.
    With ``inline=True`` tools run in this process, with no deadline: for trusted, pure tools. An observation has at most `limit`
    characters. Raises `UserError` for two tools of one name, and for a local function where a worker is wanted.

    A call that does more than read is put to `ask` first, with its exact arguments; without `ask` it is refused. So is a tool that does
    not say what it does, except inline, where it is taken at its word. `close` calls the functions of `closes` too.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        *,
        inline: bool = False,
        limit: int = LIMIT,
        memory: int | None = MEMORY,
        ask: Ask | None = None,
        closes: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.tools = {one.spec.name: one for one in tools}
        self.inline = inline
        self.limit = limit
        self.permissions = Permissions(ask)
        self._closes = tuple(closes)
        self._lock = threading.Lock()
        self._process = WorkerProcess(memory=memory, limit=limit)
        self._others: list[WorkerProcess] = []  # for calls that run at the same time
        self._end = weakref.finalize(self, self._process.close)
        for name in self.tools:
            if sum(one.spec.name == name for one in tools) > 1:
                raise UserError(f'two tools are named "{name}"; a model could not tell them apart')
        for one in tools:
            if not inline and one.origin is None and one.remote is None:
                raise UserError(f"the tool {one.spec.name} is not at the top of a file, so a worker process cannot find it again")

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told, in the order the tools were given."""
        return tuple(one.spec for one in self.tools.values())

    def effect(self, name: str) -> Effect:
        """What a call of this tool does. One that does not say so, or that is not known, is taken to change something."""
        known = self.tools.get(name)
        return Effect.WRITE if known is None or known.effect is None else known.effect

    def polls(self, name: str) -> bool:
        """Whether the same call of this tool may well answer otherwise soon."""
        return name in self.tools and self.tools[name].polls

    @property
    def worker(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._process.pid

    def run(
        self, calls: Sequence[ToolCall | Malformed], deadline: float = 30.0, on_print: OnPrint | None = None, wary: Wary | None = None
    ) -> tuple[Observation, ...]:
        """One observation for each call, in their order, each within `deadline` seconds. `on_print` is told what their tools printed.
        Where `wary` has a reason, a person is asked also for what only reads and for what is allowed for this session.

        Neighbours that only read run at the same time, at most `TOGETHER`; all others one after the other. Whatever goes wrong with a
        call is an observation with its error flag set, never an exception. A tool that returns nothing answers with what it printed.
        """
        with self._lock:
            found: list[Observation] = []
            for reads, group in itertools.groupby(calls, self._reads):
                several = list(group)
                together = reads and len(several) > 1 and not self.inline
                work = functools.partial(self._observe, deadline=deadline, on_print=on_print, wary=wary)
                found += self._together(several, work) if together else [work(one) for one in several]
            return tuple(found)

    def _reads(self, call: ToolCall | Malformed) -> bool:
        return isinstance(call, ToolCall) and self.effect(call.name).reads

    def _together(self, calls: Sequence[ToolCall | Malformed], observe: Callable[..., Observation]) -> list[Observation]:
        """The calls in threads of their own, each with a worker process. Whatever ends the wait early kills the workers."""
        while len(self._others) < min(len(calls), TOGETHER) - 1:
            other = WorkerProcess(memory=self._process.memory, limit=self.limit)
            weakref.finalize(self, other.close)
            self._others.append(other)
        idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        for process in (self._process, *self._others):
            idle.put(process)

        def work(call: ToolCall | Malformed) -> Observation:
            process = idle.get()
            try:
                return observe(call, process=process)
            finally:
                idle.put(process)

        with ThreadPoolExecutor(max_workers=TOGETHER) as threads:
            try:
                return list(threads.map(work, calls))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self._end_workers()
                raise

    def _observe(
        self,
        call: ToolCall | Malformed,
        *,
        deadline: float,
        on_print: OnPrint | None,
        wary: Wary | None,
        process: WorkerProcess | None = None,
    ) -> Observation:
        if isinstance(call, Malformed):
            return self._error(f"the call could not be read: {call.reason}")
        seen, printed = self._answer(call, deadline, process or self._process, wary(call) if wary is not None else "")
        if printed and on_print is not None:
            on_print(call, printed)
        return dataclasses.replace(seen, call_id=call.id)

    def _answer(self, call: ToolCall, deadline: float, process: WorkerProcess, reason: str) -> tuple[Observation, str]:
        """What the model is told, and what the tool printed."""
        one = self.tools.get(call.name)
        if one is None:
            listed = f"the tools are {', '.join(self.tools)}" if self.tools else "there are no tools"
            return self._error(f'there is no tool "{call.name}"{nearest(call.name, self.tools)}; {listed}'), ""
        try:
            keywords = one.keywords(call.arguments)
        except ArgumentsError as error:
            return self._error(str(error)), ""
        refused = self._refused(one, call, reason)
        if refused is not None:
            return dataclasses.replace(self._error(refused), provenance="user"), ""
        if one.remote is not None:
            return self._remotely(one, one.remote, keywords, deadline), ""
        return self._inline(one, keywords) if self.inline else self._in_worker(one, keywords, deadline, process)

    def _remotely(self, one: Tool, remote: Remote, keywords: JsonObject, deadline: float) -> Observation:
        try:
            text, failed = remote(keywords, deadline)
        except ToolError as error:
            return self._error(str(error))
        except Exception as error:  # whatever another program does is data for the model
            return self._error(described(error))
        return Observation(text=cut(f"Error: {text}" if failed else text, self.limit), error=failed, provenance=_provenance(one))

    def _inline(self, one: Tool, keywords: JsonObject) -> tuple[Observation, str]:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            text, failed, nothing = one.attempt(keywords, self.limit)
        printed = output.getvalue().rstrip("\n")
        text = cut(printed, self.limit) if nothing and printed else text
        return Observation(text=text, error=failed, provenance=_provenance(one)), printed

    def _in_worker(self, one: Tool, keywords: JsonObject, deadline: float, process: WorkerProcess) -> tuple[Observation, str]:
        assert one.origin is not None
        name, request = one.spec.name, {"origin": dataclasses.asdict(one.origin), "keywords": keywords}
        try:
            reply = process.ask(request, deadline)
        except DeadlineExceeded:
            return self._error(f"{name} did not finish in {deadline:g} s and was stopped"), process.printed.everything
        except ProcessEnded as error:
            return self._error(f"{name} ended its process ({error})"), process.printed.everything
        except BadReply:
            return self._error(f"{name} wrote into the channel of its worker and was stopped"), process.printed.everything
        output = process.printed.output
        text = cut(output, self.limit) if reply.nothing and output else reply.text
        return Observation(text=text, error=reply.error, provenance=_provenance(one)), process.printed.everything

    def _refused(self, one: Tool, call: ToolCall, reason: str) -> str | None:
        """A sentence for the model where this call may not run. With a `reason` a person is asked whatever was said before."""
        if one.effect is None and self.inline:
            return None
        does = self.effect(call.name)
        usual = UNDECLARED if one.effect is None else ""
        answer = self.permissions.decide(call.name, call.arguments, does, reason=reason or usual, afresh=bool(reason))
        if answer.allowed:
            return None
        return f"{call.name} was not run: it needs a person's permission ({does}), and {answer.because or 'the person said no'}"

    def _error(self, sentence: str) -> Observation:
        return Observation(text=cut(f"Error: {sentence}", self.limit), error=True)

    def close(self) -> None:
        """Ends the workers, if there are any, and whatever else the tools keep open. Not while another thread waits in `run`."""
        self._end_workers()
        for close in self._closes:
            close()

    def _end_workers(self) -> None:
        for process in (self._process, *self._others):
            process.close()

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _provenance(one: Tool) -> Literal["tool", "web"]:
    return "tool" if one.trusted else "web"
