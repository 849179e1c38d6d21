"""Work in several processes: results in order, and no more under way than memory allows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune.data.convert import workers
from agenttune.data.convert.options import ConvertOptions, Shard
from agenttune.data.convert.run import convert
from agenttune.errors import UserError
from tests.processes import living


def work(shared: int, chunk: bytes) -> tuple[int, int]:
    return len(chunk) * shared, os.getpid()


@pytest.mark.parametrize(("count", "most"), [(1, 1), (2, 7)])
def test_results_come_in_order_and_large_chunks_wait(monkeypatch: pytest.MonkeyPatch, count: int, most: int) -> None:
    monkeypatch.setattr(workers, "_HEAVY", 5000)
    given: list[int] = []

    def chunks() -> Iterator[bytes]:
        for size in [*range(1, 31), 4000, 4000, 4000, 4000, 1]:
            given.append(size)
            yield b"x" * size

    ahead, pids = [], set()
    for done, (chunk, (length, pid)) in enumerate(workers.in_order(work, 3, chunks(), count, len), 1):
        assert length == 3 * len(chunk)
        pids.add(pid)
        ahead.append((len(given) - done, sum(given[done:])))
    assert len(ahead) == 35
    assert (pids == {os.getpid()}) == (count == 1)
    # The first eight are taken at once, to see whether there are few.
    assert max(number for number, _ in ahead[8:]) <= most
    assert max(heavy for _, heavy in ahead) <= 5000 + 4000


def test_chunks_that_come_slowly_are_done_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_SLOW", 0.0)
    given: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            given.append(b"x")
            yield b"x"

    for done, (_, (_, pid)) in enumerate(workers.in_order(work, 3, chunks(), 2, len), 1):
        assert (len(given), pid) == (done, os.getpid())


def test_only_a_process_of_one_thread_is_forked() -> None:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    assert workers._start() == "spawn"
    stop.set()
    other.join()
    code = "from agenttune.data.convert import run, workers; print(workers._start())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert said == ("fork" if sys.platform == "linux" else "spawn")


HANGING = """
import os, sys, time
from agenttune.data.convert import workers

def work(shared, chunk):
    os.write(1, b"%d\\n" % os.getpid())  # whole lines, whoever writes
    time.sleep(0.01 if chunk < 20 else 600)
    return chunk

if __name__ == "__main__":
    for _ in workers.in_order(work, None, iter(range(30)), 2, lambda chunk: 1):
        pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up on Linux only")
def test_workers_end_when_their_main_process_is_killed(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING, encoding="utf-8")
    main = subprocess.Popen([sys.executable, str(tmp_path / "hanging.py")], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    pids = {int(main.stdout.readline()) for _ in range(22)}  # the last two are of chunks that hang
    main.kill()
    main.wait()
    main.stdout.close()
    until = time.monotonic() + 60
    while any(living(pid) for pid in pids):
        assert time.monotonic() < until, "a worker outlived its main process"
        time.sleep(0.05)


def test_what_is_no_longer_wanted_is_not_waited_for(tmp_path: Path) -> None:
    """A slow source in two workers: Ctrl-C kills them, a second and a third one change nothing, and nothing is left."""
    slow = """
        import os, time
        from pathlib import Path
        from agenttune.values.trajectory import Round, Step, Trajectory
        NAME = "slow"
        def read(record, options):
            (Path(__file__).parent / f"at-{os.getpid()}").touch()
            time.sleep(600)
            yield Trajectory(rounds=(Round(user="q", steps=(Step(answer="a"),)),))
    """
    (tmp_path / "slow.py").write_text(textwrap.dedent(slow), encoding="utf-8")
    (tmp_path / "in.jsonl").write_text('{"a": 1}\n' * 5000, encoding="utf-8")
    out = tmp_path / "o" / "out.jsonl"
    command = [sys.executable, "-m", "agenttune", "convert", str(tmp_path / "slow.py"), str(tmp_path / "in.jsonl"), "-o", str(out)]
    with subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stderr is not None
        while len(list(tmp_path.glob("at-*"))) < 2 and process.poll() is None:
            time.sleep(0.05)
        for _ in range(3):
            os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read().decode()  # ends when the last worker does: each would sleep for ten minutes
    assert (process.returncode, said.splitlines()[-1:], "Traceback" in said) == (130, ["agenttune: interrupted"], False)
    pids = [int(path.name.partition("-")[2]) for path in tmp_path.glob("at-*")]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not list(out.parent.iterdir())


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "in.jsonl"
    os.mkfifo(pipe)
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    lines = "".join(json.dumps({"id": str(number), "messages": talk}) + "\n" for number in range(50))
    writer = threading.Thread(target=lambda: pipe.write_text(lines, encoding="utf-8"))
    writer.start()
    report = convert("auto", [str(pipe)], str(tmp_path / "out.jsonl"))
    writer.join()
    assert (report.records, report.samples) == (50, 50)
    assert [(one.records, one.bytes, one.sha256) for one in report.inputs] == [(50, 0, "")]
    with pytest.raises(UserError, match="a stream cannot be read twice"):
        convert("auto", [str(pipe)], str(tmp_path / "part.jsonl"), options=ConvertOptions(shard=Shard(1, 2)))
