"""What must not come in: foreign hosts and content types, strangers, bodies that are too large or no JSON."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from agenttune.serving.errors import ApiError
from agenttune.serving.served import Served
from agenttune.values.trajectory import Json

LARGEST = 32 << 20  # bytes of a body
LOCAL = ("localhost", "127.0.0.1", "::1", "testserver")
log = logging.getLogger("agenttune.serving")
Handler = Callable[[Served, Request], Awaitable[Response]]


async def guarded(served: Served, handler: Handler, request: Request, *, key: bool = True) -> Response:
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


async def json_body(request: Request) -> Json:
    """The body of a POST as JSON. Raises `ApiError` for one that is none, and for one of more than `LARGEST` bytes."""
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
