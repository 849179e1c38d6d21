"""The HTTP side: routes over one engine a model. OpenAI's protocol, so that anybody's client can be used."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import replace

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agenttune.serving.errors import ApiError
from agenttune.serving.guards import guarded, json_body
from agenttune.serving.jobs import start_jobs, wait_for
from agenttune.serving.metrics import metrics_text
from agenttune.serving.openapi import description
from agenttune.serving.replies import NO_PARITY, Envelope, finish_reason, remembered, usage
from agenttune.serving.requests import chat_request, text_request
from agenttune.serving.served import Served, ServedModel
from agenttune.serving.streams import chat_chunks, event_stream, text_chunks
from agenttune.values.trajectory import Json


def make_app(served: Served) -> Starlette:
    """The application; it holds nothing but what it is given."""
    routes = [
        Route("/health", functools.partial(guarded, served, _health, key=False), methods=["GET"]),
        Route("/v1/models", functools.partial(guarded, served, _models), methods=["GET"]),
        Route("/v1/chat/completions", functools.partial(guarded, served, _chat), methods=["POST"]),
        Route("/v1/completions", functools.partial(guarded, served, _completions), methods=["POST"]),
        Route("/tokenize", functools.partial(guarded, served, _tokenize), methods=["POST"]),
        Route("/metrics", functools.partial(guarded, served, _metrics), methods=["GET"]),
        Route("/openapi.json", functools.partial(guarded, served, _openapi, key=False), methods=["GET"]),
    ]
    return Starlette(routes=routes)


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
        if not one.engine.by_ids:
            facts["parity"] = NO_PARITY
        data.append({"id": one.name, "object": "model", "created": served.created, "owned_by": "agenttune", "root": root, **facts})
    return JSONResponse({"object": "list", "data": data})


async def _metrics(served: Served, request: Request) -> Response:
    return PlainTextResponse(metrics_text({one.name: one.engine.counts for one in served.models}), media_type="text/plain; version=0.0.4")


async def _openapi(served: Served, request: Request) -> Response:
    return JSONResponse(description())


async def _tokenize(served: Served, request: Request) -> Response:
    body = await json_body(request)
    if isinstance(body, dict) and "messages" in body:
        asked = chat_request(body, served.most_tokens)
        speaker = _with_ids(served.model(asked.model)).speaker
        ids = await asyncio.to_thread(speaker.under(asked.template_options).prompt, asked)
    else:
        text = text_request(body, served.most_tokens)
        speaker = _with_ids(served.model(text.model)).speaker
        ids = await asyncio.to_thread(speaker.text_prompt, text.prompt)
    return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": speaker.model.context})


def _with_ids(model: ServedModel) -> ServedModel:
    if not model.engine.by_ids:
        raise ApiError(400, f"{model.name} is behind a server that is asked by messages: its token ids are not known; send a chat")
    return model


async def _chat(served: Served, request: Request) -> Response:
    asked = chat_request(await json_body(request), served.most_tokens)
    model = served.model(asked.model)
    speaker = await asyncio.to_thread(model.speaker.under, asked.template_options)
    prompt = await asyncio.to_thread(speaker.prompt, asked)
    grammar = await asyncio.to_thread(speaker.grammar, asked)
    envelope = Envelope(model=model.name, parity=model.engine.by_ids)
    jobs = start_jobs(model, prompt, speaker.sampling(asked.sampling), asked.choices, grammar)
    if asked.stream:
        exact = grammar is not None and not grammar.unchecked and model.engine.by_ids
        return event_stream(chat_chunks(jobs, envelope, speaker, asked, exact=exact), jobs)
    done = await wait_for(request, jobs)
    choices = []
    for index, completion in enumerate(done):
        message = remembered(speaker, completion, asked)
        choices.append({"index": index, "message": message.to_json(), "finish_reason": message.finish, "logprobs": None})
    return JSONResponse(envelope.whole(choices, usage(done)))


async def _completions(served: Served, request: Request) -> Response:
    asked = text_request(await json_body(request), served.most_tokens)
    model = served.model(asked.model)
    speaker = _with_ids(model).speaker
    prompt = await asyncio.to_thread(speaker.text_prompt, asked.prompt)
    envelope = Envelope(model=model.name, kind="text_completion")
    sampling = asked.sampling
    end = speaker.model.tokenizer.eos_id
    if end is not None:
        sampling = replace(sampling, stop_ids=sampling.stop_ids | {end})
    jobs = start_jobs(model, prompt, sampling, 1, tokens=asked.stream and asked.token_ids)
    if asked.stream:
        return event_stream(text_chunks(jobs, envelope, with_usage=asked.usage), jobs)
    done = await wait_for(request, jobs)
    choice: dict[str, Json] = {"index": 0, "text": done[0].text, "finish_reason": finish_reason(done[0]), "logprobs": None}
    if asked.token_ids:
        choice |= {"token_ids": list(done[0].token_ids), "prompt_token_ids": prompt}
    return JSONResponse(envelope.whole([choice], usage(done)))
