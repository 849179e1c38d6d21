"""A server that answers, is busy, and breaks: replies are read as any model's, failures are retried and never kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agenttune.cli import main
from agenttune.errors import UserError
from agenttune.evaluation.endpoint import TRIES, Endpoint, messages, seconds
from agenttune.evaluation.evaluate import evaluate, judged_by
from agenttune.evaluation.run_folder import finished
from agenttune.models.remote.server import checked_base
from agenttune.values.case import Case
from agenttune.values.sample import Sample, Turn

RIGHT = 'Action: add\nAction Input: {"n": 1}'


@dataclass
class Server:
    """What it is to say, in turn (status, headers, body); the last goes on. And what it was asked."""

    replies: list[tuple[int, dict[str, str], Any]]
    asked: list[Any] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""


def says(text: str | None, finish: str = "stop") -> tuple[int, dict[str, str], Any]:
    body = {"choices": [{"message": {"content": text}, "finish_reason": finish}], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    return 200, {}, body


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    """``server(reply, …)`` starts one on this machine."""
    running = []

    def start(*replies: tuple[int, dict[str, str], Any]) -> Server:
        made = Server(replies=list(replies))

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with made.lock:
                    made.asked.append((self.path, body))
                    made.keys.append(self.headers.get("Authorization"))
                    status, headers, reply = made.replies.pop(0) if len(made.replies) > 1 else made.replies[0]
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        one = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        running.append((one, thread))
        made.url = f"http://127.0.0.1:{one.server_address[1]}"
        return made

    yield start
    for one, thread in running:
        one.shutdown()
        one.server_close()
        thread.join()


def endpoint(url: str, slept: list[float], **fields: Any) -> Endpoint:
    given: dict[str, Any] = {"model": "m", "max_new_tokens": 9, "workers": 1}
    return Endpoint(base_url=url, sleep=slept.append, **{**given, **fields})


def test_a_reply_is_read_as_any_models(
    server: Callable[..., Server], cases: Callable[..., list[Case]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    made = server(says(RIGHT), says("Thought: the", "length"), says(None))
    one = endpoint(made.url, [])
    steps = one.predict(cases(3))
    assert [step.outcome for step in steps] == ["call", "truncated", "malformed"]
    assert steps[0].calls[0].name == "add"  # type: ignore[union-attr]
    path, body = made.asked[0]
    assert (path, body["model"], body["max_tokens"], body["temperature"], body["stop"]) == (
        "/v1/chat/completions", "m", 9, 0, ["\nObservation:"],
    )  # fmt: skip
    assert [one["role"] for one in body["messages"]] == ["system", "user"]
    assert made.keys[0] == "Bearer k"
    assert (one.usage.requests, one.usage.prompt_tokens, one.usage.completion_tokens, one.usage.retries) == (3, 21, 9, 0)


def test_a_busy_server_is_given_the_time_it_asks_for(server: Callable[..., Server], cases: Callable[..., list[Case]]) -> None:
    made = server((429, {"Retry-After": "7"}, {}), (503, {}, {}), (200, {}, b"{broken"), says(RIGHT))
    slept: list[float] = []
    one = endpoint(made.url, slept)
    assert one.predict(cases(1))[0].outcome == "call"
    assert slept == [7.0, 2.0, 4.0]  # what it asked for, then twice as long each time
    assert (one.usage.requests, one.usage.retries) == (1, 3)


def test_what_it_refuses_is_a_sentence(server: Callable[..., Server], cases: Callable[..., list[Case]]) -> None:
    made = server((404, {}, {"error": "no model m"}))
    with pytest.raises(UserError, match=r"/v1/chat/completions refuses the request \(404\): .*no model m"):
        endpoint(made.url, []).predict(cases(1))
    assert len(made.asked) == 1


def test_failures_are_never_kept_and_the_same_command_asks_again(
    server: Callable[..., Server], cases: Callable[..., list[Case]], tmp_path: Path
) -> None:
    made = server(says(RIGHT), says(RIGHT), *[(500, {}, {})] * TRIES, says(RIGHT))
    one = endpoint(made.url, [])
    with pytest.raises(UserError, match="1 of 6 cases got no reply"):
        evaluate(cases(), judged_by(one.predict), suite="s", meta={}, out=tmp_path / "run", batch_size=3)
    kept = finished(tmp_path / "run")
    assert len(kept) == 5
    assert {score.outcome for score in kept.values()} == {"call_ok"}
    assert not (tmp_path / "run" / "report.json").exists()
    before = len(made.asked)
    report = evaluate(cases(), judged_by(one.predict), suite="s", meta={}, out=tmp_path / "run", batch_size=3)
    assert len(made.asked) == before + 1
    assert report.estimates["all"][0].n == 6


def test_nobody_there(cases: Callable[..., list[Case]]) -> None:
    slept: list[float] = []
    steps = endpoint("http://127.0.0.1:9", slept).predict(cases(1))
    assert steps[0].outcome == "infra_error"
    assert slept == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_several_workers_keep_the_order(server: Callable[..., Server], cases: Callable[..., list[Case]]) -> None:
    made = server(says(RIGHT))
    steps = endpoint(made.url, [], workers=4).predict(cases(12))
    assert [step.outcome for step in steps] == ["call"] * 12
    assert len(made.asked) == 12


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds("12") == 12.0
    assert seconds(formatdate(time.time() + 30, usegmt=True)) == pytest.approx(30, abs=2)
    assert seconds("") == seconds("soon") == 0.0


def test_addresses() -> None:
    assert endpoint("http://a/v1/", []).address == endpoint("http://a", []).address == "http://a/v1/chat/completions"
    with pytest.raises(UserError, match="must begin with http"):
        checked_base("localhost:8000")


def test_turns_become_messages() -> None:
    turns = (Turn(system="S", input="u", output="a"), Turn(system="Observation: 3"), Turn(input="v", output="b"), Turn(input="w"))
    assert messages(Sample(turns=turns)) == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "Observation: 3\n\nv"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "w"},
    ]


def test_what_it_costs_is_told(server: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = server(says(RIGHT), says(RIGHT))
    asked = ["eval", "desk:dev", "--base-url", made.url, "--model", "m", "--limit", "2", "--workers", "1", "-o", str(tmp_path / "run")]
    assert main([*asked, "--price", "1000,50000"]) == 0
    assert json.loads((tmp_path / "run" / "usage.json").read_text())["cost"] == pytest.approx((14 * 1000 + 6 * 50000) / 1e6)
    said = "asked of the server: 2 requests answered, 0 tried again; 14 tokens read, 6 written; cost 0.3140"
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_server_is_shown_the_shots_and_asked_the_same_cases(server: Callable[..., Server], tmp_path: Path) -> None:
    made = server(says(RIGHT))
    hashes = []
    for count in ("0", "2"):
        out = tmp_path / count
        asked = ["eval", "desk:dev", "--base-url", made.url, "--model", "m", "--limit", "1", "--shots", count, "-o", str(out)]
        assert main(asked) == 0
        hashes.append(json.loads((out / "meta.json").read_text())["cases_hash"])
    (_, plain), (_, shown) = made.asked
    assert [one["role"] for one in plain["messages"]] == ["system", "user"]
    assert [one["role"] for one in shown["messages"]] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert shown["messages"][-1]["content"] == "\n\n".join(one["content"] for one in plain["messages"])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--price", "1"], '--price takes two prices of a million tokens, read and written, such as 0.15,0.6, not "1"'),
        (["--price", "nan,1"], "--price takes two prices"),
        (["--price", "1,2"], "--price is of a server's model: it goes with --base-url"),
    ],
)
def test_a_price_that_is_none(given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "desk:dev", "--model", "chance", "-o", str(tmp_path / "run"), *given]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
