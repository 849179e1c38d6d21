"""URLs of http and https, taken apart once; everything later works on the parts."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from agenttune.agent.toolbox.answers import ToolError

_SAFE = "/%:@!$&'()*+,;=~?"
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


class FetchError(ToolError):
    """A page that could not be had, and why, in words for the model."""


class StatusError(FetchError):
    """A host that answered, with a status that is no success; `retry_after` is its ``Retry-After`` header, or empty."""

    def __init__(self, host: str, status: int, reason: str, retry_after: str) -> None:
        super().__init__(f"{host} answered {status} {reason}".strip())
        self.host, self.status, self.retry_after = host, status, retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedUrl:
    """The parts of a URL that a request is made of; `host` and `target` are ASCII."""

    url: str
    secure: bool
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[bool, str, int]:
        """Scheme, host and port (RFC 6454)."""
        return self.secure, self.host, self.port

    @property
    def header(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse(url: str) -> ParsedUrl:
    """The parts of a URL. Raises `FetchError` for what is not plain http or https."""
    url = url.strip()
    if any(ord(letter) <= 32 or ord(letter) == 127 or letter == "\\" for letter in url):
        raise FetchError("the URL holds a space or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
        name = parts.hostname or ""
        host = name if ":" in name else name.encode("idna").decode("ascii")
    except ValueError as error:  # UnicodeError, from a name that is no host name, is one too
        raise FetchError(f"the URL cannot be read: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise FetchError("only http and https URLs can be opened")
    if parts.username is not None or parts.password is not None:
        raise FetchError("a URL with a user name or a password is not opened")
    if not _HOST.fullmatch(host) or port == 0:
        raise FetchError("the URL names no host")
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    secure = parts.scheme == "https"
    return ParsedUrl(url=url, secure=secure, host=host, port=port or (443 if secure else 80), target=target)


def redirected(place: ParsedUrl, location: str) -> ParsedUrl:
    """Where a ``Location`` header leads. Raises `FetchError` as `parse` does."""
    with contextlib.suppress(UnicodeError):  # header bytes arrive as latin-1; servers mean UTF-8
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = urljoin(place.url, location.strip())
    except ValueError as error:
        raise FetchError(f"{place.host} redirects to a URL that cannot be read") from error
    return parse(target.replace(" ", "%20"))
