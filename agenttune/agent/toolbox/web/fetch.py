"""The only socket to the world: one request for a text, to a checked address, within bounds of bytes and time."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import queue
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agenttune import __version__
from agenttune.agent.toolbox.web.addresses import allowed, resolve
from agenttune.agent.toolbox.web.charsets import decode
from agenttune.agent.toolbox.web.urls import FetchError, ParsedUrl, StatusError, parse, redirected

REDIRECTS = 5
_BROKEN = {http.client.IncompleteRead: "it broke off", http.client.RemoteDisconnected: "it was closed without an answer"}
CONTACT = "AGENTTUNE_CONTACT"  # environment: an address or URL that operators of sites can turn to

Resolve = Callable[[str, int], list[str]]
Connect = Callable[[str, int, float], socket.socket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A fetched text: where it was found in the end, its media type, and whether it was longer than the bytes allowed."""

    url: str
    media: str
    text: str
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """What is asked: the method, headers of the asker's own such as a key, and a body.

    Only a bare GET is redirected: what carries a key or a body goes to the host that the person named and to no other.
    """

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def bare(self) -> bool:
        """Whether it may be sent on to another place."""
        return self.method == "GET" and not self.headers and not self.body

    def head(self, place: ParsedUrl) -> bytes:
        """Request line and headers (RFC 9112). Raises `FetchError` for a header that would not be one line of ASCII."""
        own = {**self.headers, **({"Content-Length": str(len(self.body))} if self.body or self.method != "GET" else {})}
        lines = [f"{self.method} {place.target} HTTP/1.1", f"Host: {place.header}", f"User-Agent: {agent()}", _ACCEPTED]
        lines += [f"{name}: {value}" for name, value in own.items()]
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise FetchError("a header of the request holds a letter that headers cannot hold")
        return "\r\n".join([*lines, "Accept-Encoding: gzip", "Connection: close", "", ""]).encode("ascii")


BARE = HttpRequest()
_ACCEPTED = "Accept: text/html,application/json,text/*;q=0.9,application/xml;q=0.8"


def connect(address: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection to a numeric address."""
    return socket.create_connection((address, port), timeout=timeout)


def fetch(
    url: str,
    request: HttpRequest = BARE,
    *,
    timeout: float = 15.0,
    max_bytes: int = 2_000_000,
    allow_private: bool = False,
    resolve: Resolve = resolve,
    connect: Connect = connect,
) -> Page:
    """The text at an http or https URL.

    A host is resolved once, and the connection goes to an address that was checked; if one address of a host is private,
    loopback, link-local, reserved or otherwise not of the public internet, the host is refused, and so after each redirect (at most
    5). `allow_private` lifts this for private and loopback addresses of the URL's own origin: for a base URL that the person
    configured. At most `max_bytes` bytes are read, and at most as many come out of decompression; `timeout` is in seconds and covers
    everything, name look-up included. No cookie, no proxy; no key but what `request` carries. Raises `FetchError`; `StatusError` where
    the host answers with another status than one of success.
    """
    end = time.monotonic() + timeout
    place = first = parse(url)
    for _ in range(REDIRECTS + 1):
        private = allow_private and place.origin == first.origin
        try:
            with contextlib.closing(_open(place, end, private, resolve, connect)) as line, _ask(line, place, request, end) as answer:
                if answer.status in (301, 302, 303, 307, 308) and answer.getheader("Location"):
                    if not request.bare:
                        raise FetchError(f"{place.host} redirects; a request with a key or a body is not sent on")
                    place = redirected(place, answer.getheader("Location") or "")
                    continue
                return _read(answer, place, max_bytes)
        except TimeoutError as error:
            raise FetchError(f"{place.host} did not answer in {timeout:g} s") from error
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "the handshake failed"
            raise FetchError(f"no secure connection to {place.host}: {reason}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or _BROKEN.get(type(error), "it did not speak HTTP")
            raise FetchError(f"the connection to {place.host} failed: {reason}") from error
    raise FetchError(f"{first.host} redirects more than {REDIRECTS} times")


def _open(place: ParsedUrl, end: float, private: bool, resolve: Resolve, connect: Connect) -> socket.socket:
    addresses = _resolved(place, end, resolve)
    if not addresses:
        raise FetchError(f"{place.host} has no address")
    if not all(allowed(address, private=private) for address in addresses):
        raise FetchError(f"{place.host} is not a host of the public internet; it is not opened")
    failure: OSError = OSError("no address")
    for tried, address in enumerate(addresses):
        try:
            line = connect(address, place.port, _left(end) / (len(addresses) - tried))
        except OSError as error:
            failure = error
            continue
        try:
            return _secured(line, place.host, end) if place.secure else line
        except BaseException:
            line.close()
            raise
    raise failure


def _resolved(place: ParsedUrl, end: float, resolve: Resolve) -> list[str]:
    """The system's resolver cannot be given a time, so it works in a thread that is left behind when it takes too long."""
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            found.put(resolve(place.host, place.port))
        except Exception as error:  # carried over to the asking thread
            found.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        result = found.get(timeout=_left(end))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, OSError | UnicodeError):
        raise FetchError(f"there is no host {place.host}, or its name cannot be looked up now") from result
    if isinstance(result, Exception):
        raise result
    return result


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _secured(line: socket.socket, host: str, end: float) -> socket.socket:
    line.settimeout(_left(end))
    return ssl.create_default_context().wrap_socket(line, server_hostname=host)


class _Timed(io.RawIOBase):
    """Reads a socket; every read has only what is left of the whole request's time, so a slow drip cannot stretch it."""

    def __init__(self, line: socket.socket, end: float) -> None:
        self._line = line
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._line.settimeout(_left(self._end))
        return self._line.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client.HTTPResponse` asks a socket for."""
        return io.BufferedReader(self)


def agent() -> str:
    """Who asks: the program, its version, and what the environment gives as its contact."""
    contact = "".join(letter for letter in os.environ.get(CONTACT, "") if letter.isascii() and letter.isprintable() and letter not in "()")
    return f"agenttune/{__version__} ({contact or 'a tool-use agent of one person'})"


@contextlib.contextmanager
def _ask(line: socket.socket, place: ParsedUrl, request: HttpRequest, end: float) -> Iterator[http.client.HTTPResponse]:
    line.settimeout(_left(end))
    line.sendall(request.head(place) + request.body)
    answer = http.client.HTTPResponse(_Timed(line, end), method=request.method)  # type: ignore[arg-type]
    try:
        answer.begin()
        yield answer
    finally:
        answer.close()


def _read(answer: http.client.HTTPResponse, place: ParsedUrl, max_bytes: int) -> Page:
    if not 200 <= answer.status < 300:
        raise StatusError(place.host, answer.status, answer.reason[:100], answer.getheader("Retry-After") or "")
    if answer.status in (204, 205) or answer.length == 0:  # a change that was made and has nothing to say
        return Page(url=place.url, media="unknown", text="", truncated=False)
    media = answer.headers.get_content_type() if answer.getheader("Content-Type") else "unknown"
    if not (media.startswith("text/") or media in _TEXTS or media.endswith(("+json", "+xml"))):
        raise FetchError(f"{place.url} is not text but {media[:100]}")
    coding = (answer.getheader("Content-Encoding") or "identity").strip().lower()
    if coding not in ("gzip", "x-gzip", "identity"):
        raise FetchError(f"{place.host} sends an encoding that was not asked for: {coding[:100]}")
    pieces = _pieces(answer, max_bytes)
    body, truncated = _bounded(_unpacked(pieces) if "gzip" in coding else pieces, max_bytes)
    return Page(url=place.url, media=media, text=decode(body, media, answer.headers.get_content_charset()), truncated=truncated)


_TEXTS = ("application/json", "application/xml", "application/javascript", "application/x-ndjson", "application/yaml")


def _pieces(answer: http.client.HTTPResponse, max_bytes: int) -> Iterator[bytes]:
    """At most ``max_bytes + 1`` bytes: the last one shows that there was more."""
    left = max_bytes + 1
    while left > 0 and (piece := answer.read(min(left, 1 << 16))):
        left -= len(piece)
        yield piece
    if left > 0 and answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Gunzipped, all members of it (RFC 1952, section 2.2), never more than 64 KiB at a time, so that a bomb costs no more memory than a
    page. Raises `FetchError` where it is cut short, or where something else than zeros follows."""
    machine = _member()
    for piece in pieces:
        while True:
            if machine.eof:
                piece = piece.lstrip(b"\0")  # files may be filled up with zeros
                if not piece:
                    break
                machine = _member()
            try:
                out = machine.decompress(piece, _STEP)
            except zlib.error as error:
                raise FetchError("the page's compression is broken") from error
            if out:
                yield out
            piece = machine.unused_data if machine.eof else machine.unconsumed_tail
            if not piece and len(out) < _STEP:
                break
    if not machine.eof:
        raise FetchError("the page's compression is cut short, so a part of the page is missing")


_STEP = 1 << 16


def _member() -> zlib._Decompress:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _bounded(pieces: Iterator[bytes], max_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > max_bytes:
            return bytes(body[:max_bytes]), True
    return bytes(body), False
