"""Choices under way: what an engine says in its own thread, brought to the loop that answers the client."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from starlette.requests import ClientDisconnect, Request

from agenttune.agent.constrain import CallGrammar
from agenttune.serving.backends.base import Busy, Refused, Said, Ticket, WrittenToken
from agenttune.serving.errors import ApiError
from agenttune.serving.served import ServedModel
from agenttune.values.tokens import Completion, SamplingParams

log = logging.getLogger("agenttune.serving")


@dataclass(slots=True, kw_only=True)
class Job:
    """One choice under way: the engine's thread puts what it says into a queue of this loop."""

    said: asyncio.Queue[Said]
    ticket: Ticket


def start_jobs(
    model: ServedModel,
    prompt: list[int],
    sampling: SamplingParams,
    choices: int,
    grammar: CallGrammar | None = None,
    *,
    tokens: bool = False,
) -> list[Job]:
    """A job for each choice, with seeds of their own. Raises `ApiError` where the queue is full."""
    loop = asyncio.get_running_loop()
    jobs: list[Job] = []
    try:
        for number in range(choices):
            said: asyncio.Queue[Said] = asyncio.Queue()
            deliver = functools.partial(_deliver, loop, said)
            own = sampling if not number else _seeded(sampling, number)
            jobs.append(Job(said=said, ticket=model.engine.submit(prompt, own, deliver, grammar=grammar, tokens=tokens)))
    except Busy as busy:
        cancel_all(jobs)
        raise ApiError(429, str(busy), code="queue_full", retry_after=busy.seconds) from busy
    return jobs


def _seeded(sampling: SamplingParams, number: int) -> SamplingParams:
    return replace(sampling, seed=sampling.seed + number)


def _deliver(loop: asyncio.AbstractEventLoop, said: asyncio.Queue[Said], one: Said) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended with the server
        loop.call_soon_threadsafe(said.put_nowait, one)


def cancel_all(jobs: list[Job]) -> None:
    """Ends them all; one that has ended by itself stays so."""
    for job in jobs:
        job.ticket.cancel()


async def wait_for(request: Request, jobs: list[Job]) -> list[Completion]:
    """All completions; a client that goes away ends them."""
    gone = asyncio.create_task(_gone(request))
    whole = asyncio.create_task(_all(jobs))
    try:
        await asyncio.wait((gone, whole), return_when=asyncio.FIRST_COMPLETED)
        if whole.done():
            return whole.result()
        raise ClientDisconnect
    finally:
        cancel_all(jobs)
        gone.cancel()
        whole.cancel()


async def _all(jobs: list[Job]) -> list[Completion]:
    return [await _whole(job) for job in jobs]


async def _gone(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.05)


async def _whole(job: Job) -> Completion:
    while True:
        one = await job.said.get()
        if isinstance(one, Completion):
            return one
        if isinstance(one, Exception):
            raise _fault(one)


def _fault(error: Exception) -> ApiError:
    if isinstance(error, Refused):
        return ApiError(error.status, str(error), code=error.code, retry_after=1 if error.status == 429 else 0)
    log.error("the model failed: %s: %s", type(error).__name__, error)
    return ApiError(500, f"the model failed: {error}", code="model_error")


async def merged(jobs: list[Job]) -> AsyncIterator[tuple[int, Said]]:
    """What all jobs say, as it comes, until all have ended."""
    waiting = {asyncio.ensure_future(job.said.get()): index for index, job in enumerate(jobs)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                index, one = waiting.pop(task), task.result()
                if isinstance(one, Exception):
                    raise _fault(one)
                if isinstance(one, str | WrittenToken):
                    waiting[asyncio.ensure_future(jobs[index].said.get())] = index
                yield index, one
    finally:
        for task in waiting:
            task.cancel()
