"""An HTTP client for MCP servers that reads no more of one answer than a bound allows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx2


class TooMuch(httpx2.StreamError):
    """An answer that does not end."""


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream, self._limit = stream, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for piece in self._stream:
            seen += len(piece)
            if seen > self._limit:
                raise TooMuch(f"it sent more than {self._limit >> 20} MiB in one answer")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport(httpx2.AsyncHTTPTransport):
    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await super().handle_async_request(request)
        if request.method == "POST":  # a GET is the channel that stays open for messages of the server's own
            assert isinstance(answer.stream, httpx2.AsyncByteStream)
            answer.stream = _Bounded(answer.stream, self._limit)
        return answer


def bounded_client(headers: Mapping[str, str], limit: int) -> httpx2.AsyncClient:
    """A client for one server. At most `limit` bytes of an answer are read; no proxy and no credential of the environment is used."""
    timeout = httpx2.Timeout(30.0, read=300.0)
    return httpx2.AsyncClient(headers=dict(headers), timeout=timeout, transport=_Transport(limit), trust_env=False)
