"""The only socket to the world, against a server on this machine. Public names exist through the `resolve` and `connect` parameters."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from agenttune.agent.toolbox.web.fetch import HttpRequest, Page, fetch
from agenttune.agent.toolbox.web.urls import FetchError, StatusError, parse

Answer = Callable[[socket.socket], None]
PUBLIC = "93.184.216.34"


@dataclass
class Served:
    """A server's port, and the heads of the requests it has had."""

    port: int
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(*answers: Answer, read: bool = True) -> Iterator[Served]:
    """Answers one connection after the other; the last answer repeats."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Served(listener.getsockname()[1])

        def serve() -> None:
            for number in range(100):
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line, contextlib.suppress(OSError):
                    served.requests.append(_head(line) if read else b"")
                    answers[min(number, len(answers) - 1)](line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _head(line: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and (piece := line.recv(4096)):
        head += piece
        if head.startswith(b"\x16"):  # a TLS hello has no such end
            break
    return head


def reply(body: bytes = b"hello", status: str = "200 OK", kind: str | None = "text/plain", **headers: str) -> Answer:
    """A whole answer; header names take _ for -."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *([f"Content-Type: {kind}"] if kind else [])]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda line: line.sendall("\r\n".join([*lines, "", ""]).encode("utf-8") + body)


def drip(before: bytes, piece: bytes, pause: float = 0.02) -> Answer:
    """Sends a beginning, then a piece again and again for as long as somebody listens."""

    def send(line: socket.socket) -> None:
        line.sendall(before)
        for _ in range(1000):
            time.sleep(pause)
            line.sendall(piece)

    return send


def open_local(url: str, **bounds: float) -> Page:
    return fetch(url, allow_private=True, timeout=bounds.get("timeout", 10.0), max_bytes=int(bounds.get("max_bytes", 100_000)))


class Net:
    """Names of a pretended internet; every connection really goes to one port of this machine."""

    def __init__(self, names: dict[str, list[list[str]]], port: int) -> None:
        self.names = {name: iter(answers) for name, answers in names.items()}
        self.port = port
        self.resolved: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        return next(self.names[host])

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        self.connected.append((address, port))
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def fetch(self, url: str, timeout: float = 10.0) -> Page:
        return fetch(url, timeout=timeout, resolve=self.resolve, connect=self.connect)


def test_a_page_and_the_request_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("AGENTTUNE_CONTACT", "me@site.example\r\nX-Evil: 1")
    with serving(reply(b"hello", Set_Cookie="a=b")) as served:
        page = open_local(f"{served.url}/a b?q=ü é#part".replace(" ", "%20"))
        open_local(served.url)
    assert page.text == "hello"
    assert page.media == "text/plain"
    assert not page.truncated
    line, *headers = served.requests[0].decode("ascii").split("\r\n")
    assert line == "GET /a%20b?q=%C3%BC%20%C3%A9 HTTP/1.1"
    assert headers[0] == f"Host: 127.0.0.1:{served.port}"
    assert {one.split(":")[0] for one in headers if one} == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
    assert headers[1].startswith("User-Agent: agenttune/")
    assert "(me@site.exampleX-Evil: 1)" in headers[1]
    assert served.requests[1].startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_this_machine_is_refused(host: str) -> None:
    with serving(reply()) as served, pytest.raises(FetchError, match="is not a host of the public internet"):
        fetch(f"http://{host}:{served.port}/")
    assert served.requests == []


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """DNS rebinding: the name's second answer is this machine, and nobody asks twice."""
    with serving(reply()) as served:
        net = Net({"site.example": [[PUBLIC], ["127.0.0.1"]]}, served.port)
        assert net.fetch("http://Site.Example/").text == "hello"
    assert net.resolved == ["site.example"]
    assert net.connected == [(PUBLIC, 80)]
    assert b"\r\nHost: site.example\r\n" in served.requests[0]


def test_one_private_address_among_public_ones_refuses_the_host() -> None:
    net = Net({"site.example": [[PUBLIC, "10.0.0.1"]]}, 9)
    with pytest.raises(FetchError, match=r"site\.example is not a host of the public internet"):
        net.fetch("http://site.example/")
    assert net.connected == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_checked_again(status: str) -> None:
    with serving(reply(status=status, Location="http://inner.example/secret")) as served:
        net = Net({"site.example": [[PUBLIC]], "inner.example": [["192.168.0.1"]]}, served.port)
        with pytest.raises(FetchError, match=r"inner\.example is not a host"):
            net.fetch("http://site.example/")
    assert net.connected == [(PUBLIC, 80)]


def test_leave_for_a_private_origin_ends_with_that_origin() -> None:
    with (
        serving(reply(b"secret")) as inner,
        serving(reply(status="302 Found", Location=f"{inner.url}/secret")) as outer,
        pytest.raises(FetchError, match="is not a host of the public internet"),
    ):
        open_local(outer.url)
    assert inner.requests == []
    with serving(reply(status="302 Found", Location="../there?é x"), reply(b"there")) as outer:
        page = open_local(f"{outer.url}/a/b/")
    assert (page.text, page.url) == ("there", f"{outer.url}/a/there?é%20x")
    assert outer.requests[1].startswith(b"GET /a/there?%C3%A9%20x HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://site.example/", "gopher://x", "http://user:word@site.example/", "http://[bad/"]
)
def test_a_redirect_out_of_the_web_is_refused(location: str) -> None:
    with serving(reply(status="302 Found", Location=location)) as served, pytest.raises(FetchError):
        open_local(served.url)
    assert len(served.requests) == 1


def test_five_redirects_are_followed_and_no_more() -> None:
    onward = reply(status="302 Found", Location="/on")
    with serving(*[onward] * 5, reply(b"at last")) as served:
        assert open_local(served.url).text == "at last"
    with serving(onward) as served, pytest.raises(FetchError, match="redirects more than 5 times"):
        open_local(served.url)
    assert len(served.requests) == 6


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda line: line.recv(1), id="silence"),
        pytest.param(drip(b"HTTP/1.1 200 ", b"O"), id="status line"),
        pytest.param(drip(HEAD, b"X: y\r\n"), id="headers"),
        pytest.param(drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue for ever"),
        pytest.param(drip(HEAD + b"Content-Length: 9999\r\n\r\n", b"x"), id="body"),
        pytest.param(drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"e"), id="chunk extension"),
        pytest.param(drip(HEAD + b"\r\n", b"x"), id="body without length"),
    ],
)
def test_a_slow_drip_ends_in_time(answer: Answer) -> None:
    start = time.monotonic()
    with serving(answer) as served, pytest.raises(FetchError, match=r"did not answer in 0\.4 s"):
        open_local(served.url, timeout=0.4)
    assert time.monotonic() - start < 3


def test_redirects_share_one_time() -> None:
    def slow(line: socket.socket) -> None:
        time.sleep(0.2)
        reply(status="302 Found", Location="/on")(line)

    with serving(slow) as served, pytest.raises(FetchError, match="did not answer"):
        open_local(served.url, timeout=0.5)
    assert len(served.requests) <= 3


def test_a_name_that_takes_too_long_ends_in_time() -> None:
    released = threading.Event()

    def never(host: str, port: int) -> list[str]:
        released.wait(30)
        return []

    start = time.monotonic()
    with pytest.raises(FetchError, match=r"slow\.example did not answer in 0\.3 s"):
        fetch("http://slow.example/", timeout=0.3, resolve=never)
    assert time.monotonic() - start < 3
    released.set()


def test_names_without_an_address() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(FetchError, match=r"there is no host site\.example"):
        fetch("http://site.example/", resolve=unknown)
    with pytest.raises(FetchError, match="has no address"):
        fetch("http://site.example/", resolve=lambda host, port: [])


def test_the_next_address_is_tried_when_one_refuses() -> None:
    tried = []

    with serving(reply()) as served:

        def connect(address: str, port: int, timeout: float) -> socket.socket:
            tried.append(address)
            if len(tried) == 1:
                raise ConnectionRefusedError(111, "Connection refused")
            return socket.create_connection(("127.0.0.1", served.port), timeout=timeout)

        page = fetch("http://site.example/", resolve=lambda host, port: ["2606:2800:220:1::1", PUBLIC], connect=connect)
    assert page.text == "hello"
    assert tried == ["2606:2800:220:1::1", PUBLIC]


def test_a_page_without_end_is_cut() -> None:
    def endless(line: socket.socket) -> None:
        line.sendall(HEAD + b"\r\n")
        while True:
            line.sendall(b"x" * 65536)

    with serving(endless) as served:
        page = open_local(served.url, max_bytes=200_000)
    assert page.truncated
    assert page.text == "x" * 200_000
    with serving(reply(b"y" * 1000)) as served:
        assert not open_local(served.url, max_bytes=1000).truncated


def test_compression_is_read_and_a_bomb_costs_nothing() -> None:
    with serving(reply(gzip.compress("Grüße".encode()), Content_Encoding="gzip")) as served:
        assert open_local(served.url).text == "Grüße"
    bomb = gzip.compress(b"\0" * (64 << 20))
    with serving(reply(bomb, Content_Encoding="gzip")) as served:
        tracemalloc.start()
        page = open_local(served.url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert page.truncated
    assert len(page.text) == 100_000
    assert peak < 4 << 20


def packed(text: str) -> bytes:
    return gzip.compress(text.encode())


LONG = "".join(f"{number * 7919} " for number in range(30_000))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (packed("one, ") + packed("two, ") + packed("three"), "one, two, three"),
        (packed(LONG) + packed("x"), LONG + "x"),
        (packed("filled up") + bytes(700), "filled up"),
        (packed("0" * 65536), "0" * 65536),  # as long as what is unpacked at once
        (packed("0" * 65537) + packed(""), "0" * 65537),
        (b"", ""),
    ],
)
def test_a_packed_page_is_read_to_its_end(body: bytes, text: str) -> None:
    with serving(reply(body, Content_Encoding="gzip")) as served:
        assert open_local(served.url, max_bytes=1 << 20).text == text


@pytest.mark.parametrize("cut", [3, 12, 400, 6000])
def test_a_part_of_a_packed_page_is_not_taken_for_the_whole(cut: int) -> None:
    """The server says that the cut bytes are all: nothing but the compression knows better."""
    for whole in (packed(LONG), packed("before") + packed(LONG)):
        with (
            serving(reply(whole[:-cut], Content_Encoding="gzip")) as served,
            pytest.raises(FetchError, match="cut short, so a part of the page is missing"),
        ):
            open_local(served.url, max_bytes=1 << 20)


@pytest.mark.parametrize("after", [b"x", b"\x1f\x8b junk", b"\0\0junk", b"<html>" * 9000])
def test_what_follows_a_packed_page_is_said(after: bytes) -> None:
    with (
        serving(reply(packed("a page") + after, Content_Encoding="gzip")) as served,
        pytest.raises(FetchError, match=r"the page's compression is (broken|cut short)"),
    ):
        open_local(served.url)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(b"x", Content_Encoding="br"), "an encoding that was not asked for: br"),
        (reply(b"not gzip", Content_Encoding="gzip"), "compression is broken"),
        (reply(b"\x89PNG", kind="image/png"), "is not text but image/png"),
        (reply(b"x", kind=None), "is not text but unknown"),
        (reply(b"x", kind="application/pdf"), "is not text but application/pdf"),
        (reply(status="404 Not Found"), "answered 404 Not Found"),
        (reply(status="429 Too Many Requests"), "answered 429"),
        (reply(status="302 Found"), "answered 302 Found"),
        (lambda line: line.sendall(HEAD + b"Content-Length: 10\r\n\r\nshort"), "it broke off"),
        (lambda line: line.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"), "it broke off"),
        (lambda line: line.sendall(b"220 ftp ready\r\n"), "it did not speak HTTP"),
        (lambda line: line.sendall(HEAD + b"X: y\r\n" * 500 + b"\r\n"), "it did not speak HTTP"),
        (lambda line: line.sendall(HEAD + b"X: " + b"y" * 99999 + b"\r\n\r\n"), "failed"),
        (lambda line: None, "it was closed without an answer"),
    ],
)  # fmt: skip
def test_what_is_not_a_text_is_refused(answer: Answer, says: str) -> None:
    with serving(answer) as served, pytest.raises(FetchError) as raised:
        open_local(served.url)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("北京".encode("gbk"), "text/plain; charset=GBK", "北京"),
        ("北京".encode("gb2312"), 'text/html; charset="gb2312"', "北京"),
        ("naïve".encode("latin-1"), "text/plain; charset=ISO-8859-1", "naïve"),
        (b"\x93quoted\x94", "text/plain; charset=latin1", "“quoted”"),
        (b"<meta charset=Shift_JIS>" + "日本".encode("shift_jis"), "text/html", "<meta charset=Shift_JIS>日本"),
        (b"<meta charset=gbk>", "text/plain", "<meta charset=gbk>"),
        (b"\xef\xbb\xbfx\xc3\xa9", "text/plain; charset=latin1", "xé"),
        ("é".encode("utf-16"), "text/plain", "é"),
        ("é".encode(), "text/plain; charset=punycode", "é"),
        ("é".encode(), "text/plain; charset=zlib", "é"),
        ("é".encode(), "text/plain; charset=no-such", "é"),
        ("é".encode(), "application/ld+json", "é"),
        (b"a\xffb", "text/plain; charset=utf-8", "a\ufffdb"),
    ],
)
def test_character_sets(body: bytes, kind: str, text: str) -> None:
    with serving(reply(body, kind=kind)) as served:
        assert open_local(served.url).text == text


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://site.example/", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("javascript:alert(1)", "only http and https"),
        ("site.example/page", "only http and https"),
        ("", "only http and https"),
        ("http://", "names no host"),
        ("http:///path", "names no host"),
        ("http://site.example:0/", "names no host"),
        ("http://site.example:99999/", "cannot be read"),
        ("http://site.example:port/", "cannot be read"),
        ("http://user@site.example/", "a user name or a password"),
        ("http://:word@site.example/", "a user name or a password"),
        ("http://site.example/\r\nHost: evil", "a space or a control character"),
        ("http://site.example\\@evil.example/", "a space or a control character"),
        ("http://a..b/", "cannot be read"),
        (f"http://{'a' * 70}.example/", "cannot be read"),
        ("http://[::1/", "cannot be read"),
        ("http://a<b>/", "names no host"),
    ],
)
def test_urls_that_are_not_opened(url: str, says: str) -> None:
    with pytest.raises(FetchError) as raised:
        parse(url)
    assert says in str(raised.value)


def test_urls_are_taken_apart() -> None:
    place = parse(" https://Münster.example/Straße?q=1&r=%20#part ")
    assert (place.secure, place.host, place.port) == (True, "xn--mnster-3ya.example", 443)
    assert place.target == "/Stra%C3%9Fe?q=1&r=%20"
    assert place.header == "xn--mnster-3ya.example"
    assert parse("http://[2606:2800::1]:8080").header == "[2606:2800::1]:8080"


def test_tls_names_the_host_and_refuses_what_is_not_tls() -> None:
    with serving(lambda line: line.sendall(b"HTTP/1.1 400 Bad HttpRequest\r\n\r\n")) as served:
        net = Net({"secure.example": [[PUBLIC]]}, served.port)
        with pytest.raises(FetchError, match=r"no secure connection to secure\.example"):
            net.fetch("https://secure.example/")
    assert net.connected == [(PUBLIC, 443)]
    assert b"secure.example" in served.requests[0], "the hello carries the name, not the address"
    assert b"GET" not in served.requests[0]


def test_a_tls_handshake_that_hangs_ends_in_time() -> None:
    with serving(lambda line: line.recv(1)) as served:
        net = Net({"secure.example": [[PUBLIC]]}, served.port)
        with pytest.raises(FetchError, match="did not answer"):
            net.fetch("https://secure.example/", timeout=0.3)


def test_a_request_with_a_key_and_a_body_goes_to_its_host_and_no_further() -> None:
    asked = HttpRequest(method="POST", headers={"X-API-KEY": "secret", "Content-Type": "application/json"}, body=b'{"q": "tea"}')
    with serving(reply(b"{}", kind="application/json", status="201 Created")) as served:
        assert fetch(served.url, asked, allow_private=True).text == "{}"
    line, *headers = served.requests[0].decode("ascii").split("\r\n")
    assert line == "POST / HTTP/1.1"
    assert "X-API-KEY: secret" in headers
    assert "Content-Length: 12" in headers
    with serving(reply(b"other")) as other, serving(reply(status="307 Temporary", Location=other.url)) as served:
        with pytest.raises(FetchError, match="a request with a key or a body is not sent on"):
            fetch(served.url, asked, allow_private=True)
        with pytest.raises(FetchError, match="is not sent on"):
            fetch(served.url, HttpRequest(headers={"X-API-KEY": "secret"}), allow_private=True)
    assert other.requests == []


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "clé"])
def test_a_header_is_one_line_of_ascii(value: str) -> None:
    with serving(reply()) as served, pytest.raises(FetchError, match="a header of the request holds"):
        fetch(served.url, HttpRequest(headers={"X-API-KEY": value}), allow_private=True)
    assert not any(served.requests)


def test_a_status_and_what_it_says_of_waiting() -> None:
    with serving(reply(status="429 Too Many Requests", Retry_After="7")) as served, pytest.raises(StatusError) as raised:
        open_local(served.url)
    assert (raised.value.status, raised.value.retry_after, raised.value.host) == (429, "7", "127.0.0.1")
