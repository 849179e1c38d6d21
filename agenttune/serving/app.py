"""The HTTP side: routes, guards and streams over one engine. OpenAI's protocol, so that anybody's client can be used."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import ipaddress
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from agenttune.agent.constrain import CallGrammar
from agenttune.serving.engine import Busy, Engine, Generation, WrittenToken
from agenttune.serving.errors import ApiError
from agenttune.serving.metrics import metrics_text
from agenttune.serving.openapi import description
from agenttune.serving.prompts import Speaker
from agenttune.serving.replies import Deltas, Envelope, ReplyMessage, message_of, usage
from agenttune.serving.requests import ChatRequest, chat_request, text_request
from agenttune.values.tokens import Completion, SamplingParams
from agenttune.values.trajectory import Json

LARGEST = 32 << 20  # bytes of a body
LOCAL = ("localhost", "127.0.0.1", "::1", "testserver")
log = logging.getLogger("agenttune.serving")
Said = str | WrittenToken | Completion | Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model with its engine, under the name that clients use."""

    name: str
    speaker: Speaker
    engine: Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a server serves, and who may ask. The first model is the one for requests that name none."""

    models: tuple[ServedModel, ...]
    api_key: str = ""
    hosts: tuple[str, ...] = ()
    most_tokens: int = 1024
    created: int = 0

    def model(self, name: str) -> ServedModel:
        """The model of a name, the first where none is named. Raises `ApiError`."""
        for one in self.models:
            if not name or one.name == name:
                return one
        known = ", ".join(one.name for one in self.models)
        raise ApiError(404, f'there is no model "{name[:80]}"; served: {known}', code="model_not_found", param="model")


Handler = Callable[[Served, Request], Awaitable[Response]]


def make_app(served: Served) -> Starlette:
    """The application; it holds nothing but what it is given."""
    routes = [
        Route("/health", functools.partial(_guarded, served, _health, key=False), methods=["GET"]),
        Route("/v1/models", functools.partial(_guarded, served, _models), methods=["GET"]),
        Route("/v1/chat/completions", functools.partial(_guarded, served, _chat), methods=["POST"]),
        Route("/v1/completions", functools.partial(_guarded, served, _completions), methods=["POST"]),
        Route("/tokenize", functools.partial(_guarded, served, _tokenize), methods=["POST"]),
        Route("/metrics", functools.partial(_guarded, served, _metrics), methods=["GET"]),
        Route("/openapi.json", functools.partial(_guarded, served, _openapi, key=False), methods=["GET"]),
    ]
    return Starlette(routes=routes)


async def _guarded(
    served: Served, handler: Callable[[Served, Request], Awaitable[Response]], request: Request, *, key: bool = True
) -> Response:
    """Refuses what must not come in, and says what went wrong in OpenAI's form."""
    try:
        _refuse_foreign(served, request)
        if key:
            _refuse_stranger(served, request)
        return await handler(served, request)
    except ApiError as error:
        return _error(error)
    except ClientDisconnect:
        return Response(status_code=499)
    except Exception:
        log.exception("a request failed")
        return _error(ApiError(500, "this is a fault of agenttune; the server's log says more"))


def _refuse_foreign(served: Served, request: Request) -> None:
    """A page in a browser can send requests to this machine under a name of its own: such a Host, or a form's content type, is refused."""
    host = request.headers.get("host", "").rsplit("]", 1)[0].lstrip("[") if "]" in request.headers.get("host", "") else ""
    host = host or request.headers.get("host", "").partition(":")[0]
    if host.lower() not in (*LOCAL, *served.hosts) and not (served.api_key and _is_address(host)):
        raise ApiError(421, f'this server does not answer for the host "{host[:80]}"', code="host_not_allowed")
    if request.method == "POST" and request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the content type must be application/json")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refuse_stranger(served: Served, request: Request) -> None:
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if served.api_key and not hmac.compare_digest(given.encode(), served.api_key.encode()):
        raise ApiError(401, "the API key is missing or wrong", code="invalid_api_key")


def _error(error: ApiError) -> JSONResponse:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


async def _health(served: Served, request: Request) -> Response:
    counts = [one.engine.counts for one in served.models]
    return JSONResponse({"status": "ok", "running": sum(one.running for one in counts), "waiting": sum(one.waiting for one in counts)})


async def _models(served: Served, request: Request) -> Response:
    data = []
    for one in served.models:
        speaker, card = one.speaker, one.speaker.model.card
        facts: dict[str, Json] = {
            "max_model_len": speaker.model.context,
            "protocol": speaker.protocol.name,
            "template": speaker.template.name,
            "observation_role": speaker.template.observation_role,
        }
        root = card.base if card else one.name
        if card is not None and card.template_options:
            facts["template_options"] = dict(card.template_options)
        data.append({"id": one.name, "object": "model", "created": served.created, "owned_by": "agenttune", "root": root, **facts})
    return JSONResponse({"object": "list", "data": data})


async def _metrics(served: Served, request: Request) -> Response:
    return PlainTextResponse(metrics_text({one.name: one.engine.counts for one in served.models}), media_type="text/plain; version=0.0.4")


async def _openapi(served: Served, request: Request) -> Response:
    return JSONResponse(description())


async def _tokenize(served: Served, request: Request) -> Response:
    body = await _body(request)
    if isinstance(body, dict) and "messages" in body:
        asked = chat_request(body, served.most_tokens)
        speaker = served.model(asked.model).speaker
        ids = await asyncio.to_thread(speaker.prompt, asked)
    else:
        text = text_request(body, served.most_tokens)
        speaker = served.model(text.model).speaker
        ids = await asyncio.to_thread(speaker.text_prompt, text.prompt)
    return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": speaker.model.context})


async def _body(request: Request) -> Json:
    size = request.headers.get("content-length", "")
    if size.isdigit() and int(size) > LARGEST:
        raise ApiError(413, f"the body has {int(size):,} bytes; at most {LARGEST:,} are read")
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > LARGEST:
            raise ApiError(413, f"the body has more than {LARGEST:,} bytes")
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error


async def _chat(served: Served, request: Request) -> Response:
    asked = chat_request(await _body(request), served.most_tokens)
    model = served.model(asked.model)
    speaker = model.speaker
    prompt = await asyncio.to_thread(speaker.prompt, asked)
    grammar = await asyncio.to_thread(speaker.grammar, asked)
    envelope = Envelope(model=model.name)
    jobs = _start(model, prompt, speaker.sampling(asked.sampling), asked.choices, grammar)
    if asked.stream:
        exact = grammar is not None and not grammar.unchecked
        return _stream(_chat_chunks(jobs, envelope, speaker, asked, exact=exact), jobs)
    done = await _wait(request, jobs)
    choices = []
    for index, completion in enumerate(done):
        message = _remembered(speaker, completion, asked.parallel)
        choices.append({"index": index, "message": message.to_json(), "finish_reason": message.finish, "logprobs": None})
    return JSONResponse(envelope.whole(choices, usage(done)))


async def _completions(served: Served, request: Request) -> Response:
    asked = text_request(await _body(request), served.most_tokens)
    model = served.model(asked.model)
    speaker = model.speaker
    prompt = await asyncio.to_thread(speaker.text_prompt, asked.prompt)
    envelope = Envelope(model=model.name, kind="text_completion")
    sampling = asked.sampling
    stop_ids = speaker.model.tokenizer.eos_id
    if stop_ids is not None:
        sampling = _with_end(sampling, stop_ids)
    jobs = _start(model, prompt, sampling, 1, tokens=asked.stream and asked.token_ids)
    if asked.stream:
        return _stream(_text_chunks(jobs, envelope, with_usage=asked.usage), jobs)
    done = await _wait(request, jobs)
    choice: dict[str, Json] = {"index": 0, "text": done[0].text, "finish_reason": _finish(done[0]), "logprobs": None}
    if asked.token_ids:
        choice |= {"token_ids": list(done[0].token_ids), "prompt_token_ids": prompt}
    return JSONResponse(envelope.whole([choice], usage(done)))


def _with_end(sampling: SamplingParams, end: int) -> SamplingParams:
    return replace(sampling, stop_ids=sampling.stop_ids | {end})


def _finish(completion: Completion) -> str:
    return "length" if completion.stop in ("length", "context") else "stop"


@dataclass(slots=True, kw_only=True)
class _Job:
    """One choice under way: the engine's thread puts what it says into a queue of this loop."""

    said: asyncio.Queue[Said]
    generation: Generation


def _start(
    model: ServedModel,
    prompt: list[int],
    sampling: SamplingParams,
    choices: int,
    grammar: CallGrammar | None = None,
    *,
    tokens: bool = False,
) -> list[_Job]:
    loop = asyncio.get_running_loop()
    jobs: list[_Job] = []
    try:
        for number in range(choices):
            said: asyncio.Queue[Said] = asyncio.Queue()
            deliver = functools.partial(_deliver, loop, said)
            own = sampling if not number else _seeded(sampling, number)
            jobs.append(_Job(said=said, generation=model.engine.submit(prompt, own, deliver, grammar=grammar, tokens=tokens)))
    except Busy as busy:
        _cancel(jobs)
        raise ApiError(429, str(busy), code="queue_full", retry_after=busy.seconds) from busy
    return jobs


def _seeded(sampling: SamplingParams, number: int) -> SamplingParams:
    return replace(sampling, seed=sampling.seed + number)


def _deliver(loop: asyncio.AbstractEventLoop, said: asyncio.Queue[Said], one: Said) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended with the server
        loop.call_soon_threadsafe(said.put_nowait, one)


def _cancel(jobs: list[_Job]) -> None:
    for job in jobs:
        job.generation.cancel()


async def _wait(request: Request, jobs: list[_Job]) -> list[Completion]:
    """All completions; a client that goes away ends them."""
    gone = asyncio.create_task(_gone(request))
    whole = asyncio.create_task(_all(jobs))
    try:
        await asyncio.wait((gone, whole), return_when=asyncio.FIRST_COMPLETED)
        if whole.done():
            return whole.result()
        raise ClientDisconnect
    finally:
        _cancel(jobs)
        gone.cancel()
        whole.cancel()


async def _all(jobs: list[_Job]) -> list[Completion]:
    return [await _whole(job) for job in jobs]


async def _gone(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.05)


async def _whole(job: _Job) -> Completion:
    while True:
        one = await job.said.get()
        if isinstance(one, Completion):
            return one
        if isinstance(one, Exception):
            raise _fault(one)


def _fault(error: Exception) -> ApiError:
    log.error("the model failed: %s: %s", type(error).__name__, error)
    return ApiError(500, f"the model failed: {error}", code="model_error")


def _remembered(speaker: Speaker, completion: Completion, parallel: bool) -> ReplyMessage:
    step = speaker.step(completion)
    message = message_of(step, completion, speaker.protocol, parallel=parallel)
    if message.calls and len(message.calls) == len(step.calls):
        speaker.memory.keep([call.id for call in message.calls], step)
    return message


def _stream(chunks: AsyncIterator[Json], jobs: list[_Job]) -> StreamingResponse:
    return StreamingResponse(_events(chunks, jobs), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _events(chunks: AsyncIterator[Json], jobs: list[_Job]) -> AsyncIterator[str]:
    """Server-sent events; an error after the head has gone is an event of its own."""
    try:
        async for chunk in chunks:
            yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        yield "data: [DONE]\n\n"
    except ApiError as error:
        yield f"data: {json.dumps(error.body())}\n\n"
    finally:
        _cancel(jobs)


async def _merged(jobs: list[_Job]) -> AsyncIterator[tuple[int, Said]]:
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


async def _chat_chunks(jobs: list[_Job], envelope: Envelope, speaker: Speaker, asked: ChatRequest, *, exact: bool) -> AsyncIterator[Json]:
    told, with_usage = [Deltas(speaker.protocol, exact=exact) for _ in jobs], asked.usage
    ended: list[Completion] = []
    for index in range(len(jobs)):
        yield envelope.chunk([_chat_choice(index, {"role": "assistant", "content": ""}, None)], with_usage=with_usage)
    async for index, one in _merged(jobs):
        if isinstance(one, str):
            for delta in told[index].push(one):
                yield envelope.chunk([_chat_choice(index, delta, None)], with_usage=with_usage)
            continue
        assert isinstance(one, Completion)
        ended.append(one)
        message = _remembered(speaker, one, asked.parallel)
        rest, message = told[index].finish(message)
        for delta in rest:
            yield envelope.chunk([_chat_choice(index, delta, None)], with_usage=with_usage)
        yield envelope.chunk([_chat_choice(index, {}, message.finish)], with_usage=with_usage)
    if with_usage:
        yield envelope.chunk([], usage(ended), with_usage=True)


def _chat_choice(index: int, delta: Json, finish: str | None) -> Json:
    return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}


async def _text_chunks(jobs: list[_Job], envelope: Envelope, *, with_usage: bool) -> AsyncIterator[Json]:
    async for _, one in _merged(jobs):
        if isinstance(one, str | WrittenToken):
            choice: dict[str, Json] = {"index": 0, "text": "", "finish_reason": None, "logprobs": None}
            told = {"text": one} if isinstance(one, str) else {"text": one.text, "token_ids": [one.token]}
            yield envelope.chunk([choice | told], with_usage=with_usage)
        else:
            assert isinstance(one, Completion)
            yield envelope.chunk([{"index": 0, "text": "", "finish_reason": _finish(one), "logprobs": None}], with_usage=with_usage)
            if with_usage:
                yield envelope.chunk([], usage([one]), with_usage=True)
