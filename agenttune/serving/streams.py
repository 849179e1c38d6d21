"""Replies as they come: server-sent events of a chat's deltas or of a text's pieces."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from agenttune.serving.backends.base import WrittenToken
from agenttune.serving.errors import ApiError
from agenttune.serving.jobs import Job, cancel_all, merged
from agenttune.serving.prompts import Speaker
from agenttune.serving.replies import Deltas, Envelope, finish_reason, remembered, usage
from agenttune.serving.requests import ChatRequest
from agenttune.values.tokens import Completion
from agenttune.values.trajectory import Json


def event_stream(chunks: AsyncIterator[Json], jobs: list[Job]) -> StreamingResponse:
    """The reply of a request that streams; its jobs end with it."""
    return StreamingResponse(_events(chunks, jobs), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _events(chunks: AsyncIterator[Json], jobs: list[Job]) -> AsyncIterator[str]:
    """Server-sent events; an error after the head has gone is an event of its own."""
    try:
        async for chunk in chunks:
            yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        yield "data: [DONE]\n\n"
    except ApiError as error:
        yield f"data: {json.dumps(error.body())}\n\n"
    finally:
        cancel_all(jobs)


async def chat_chunks(jobs: list[Job], envelope: Envelope, speaker: Speaker, asked: ChatRequest, *, exact: bool) -> AsyncIterator[Json]:
    """The chunks of a chat's reply: all choices as they come, then the usage where it was asked for."""
    told, with_usage = [Deltas(speaker.protocol, exact=exact) for _ in jobs], asked.usage
    ended: list[Completion] = []
    for index in range(len(jobs)):
        yield envelope.chunk([_chat_choice(index, {"role": "assistant", "content": ""}, None)], with_usage=with_usage)
    async for index, one in merged(jobs):
        if isinstance(one, str):
            for delta in told[index].push(one):
                yield envelope.chunk([_chat_choice(index, delta, None)], with_usage=with_usage)
            continue
        assert isinstance(one, Completion)
        ended.append(one)
        message = remembered(speaker, one, asked)
        rest, message = told[index].finish(message)
        for delta in rest:
            yield envelope.chunk([_chat_choice(index, delta, None)], with_usage=with_usage)
        yield envelope.chunk([_chat_choice(index, {}, message.finish)], with_usage=with_usage)
    if with_usage:
        yield envelope.chunk([], usage(ended), with_usage=True)


def _chat_choice(index: int, delta: Json, finish: str | None) -> Json:
    return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}


async def text_chunks(jobs: list[Job], envelope: Envelope, *, with_usage: bool) -> AsyncIterator[Json]:
    """The chunks of a text that goes on."""
    async for _, one in merged(jobs):
        if isinstance(one, str | WrittenToken):
            choice: dict[str, Json] = {"index": 0, "text": "", "finish_reason": None, "logprobs": None}
            told = {"text": one} if isinstance(one, str) else {"text": one.text, "token_ids": [one.token]}
            yield envelope.chunk([choice | told], with_usage=with_usage)
        else:
            assert isinstance(one, Completion)
            yield envelope.chunk([{"index": 0, "text": "", "finish_reason": finish_reason(one), "logprobs": None}], with_usage=with_usage)
            if with_usage:
                yield envelope.chunk([], usage([one]), with_usage=True)
