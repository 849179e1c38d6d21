"""Guards: nothing in these tests connects to, or looks up, anything but this machine."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterator

import pytest

_guarded: list[bool] = []
_refused: list[object] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Python's audit hook: it cannot be removed, so it only acts while a test of this folder runs."""
    if not _guarded or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    address = arguments[1] if event == "socket.connect" else arguments
    if not isinstance(address, tuple):  # a path: a socket of this machine
        return
    host = str(address[0])
    if not _loopback(host) and not (event == "socket.getaddrinfo" and re.fullmatch(r"[0-9a-fx.:]+", host)):  # digits ask nobody
        _refused.append(host)
        raise AssertionError(f"{event} to {host}")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def loopback_only() -> Iterator[None]:
    """Fails a test that reached out, even where the failure was swallowed on the way."""
    _refused.clear()
    _guarded.append(True)
    yield
    _guarded.clear()
    assert not _refused
