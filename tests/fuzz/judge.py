"""The judge of a door: whatever is carried in, it ends with a right result or with one sentence, in bounded work and memory."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from agenttune.agent.toolbox import ToolError
from agenttune.cli import main
from agenttune.errors import UserError

T = TypeVar("T")
# Inputs a door: AGENTTUNE_FUZZ says another number, AGENTTUNE_FUZZ_FROM the first, to see one again.
COUNT = int(os.environ.get("AGENTTUNE_FUZZ") or (20_000 if os.environ.get("AGENTTUNE_PROVE") else 300))
FIRST = int(os.environ.get("AGENTTUNE_FUZZ_FROM") or 0)
SECONDS = 10.0  # of the processor, for one input
MEMORY = 2 << 30  # bytes that an input may ask for, beside what the process has
LONGEST = 2000  # characters of a sentence


class TooMuchWork(BaseException):
    """One input took more of the processor than it may."""


@dataclass(kw_only=True)
class Verdicts:
    """What became of a door's inputs."""

    door: str
    ends: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)  # by where they were raised: the first input's number and its story

    def fault(self, kind: str, story: str) -> None:
        """Keeps the first of each kind, and tells it at once: a later input may end the process."""
        if kind not in self.faults:
            self.faults[kind] = story
            print(f"{self.door} {story}", flush=True)

    def __str__(self) -> str:
        said = ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))
        return f"{self.door}: {sum(self.ends.values()):,} inputs, {said}"


def fuzz(
    door: str, make: Callable[[random.Random], T], enter: Callable[[T], object], *, ends: Sequence[str] = ("right", "refused")
) -> Verdicts:
    """Carries `COUNT` inputs through a door: ``enter(make(chance))``. Fails on the first end of each kind that is not allowed.

    Allowed are a return, and a `UserError` or `ToolError` of one line. Fails, too, where less than a fiftieth ends in one of `ends`: then
    the inputs are no test of the door.
    """
    found = Verdicts(door=door)
    with _bounded_memory(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(FIRST, FIRST + COUNT):
            given = make(random.Random(f"{door} {number}"))
            found.ends[_end(found, number, given, enter)] += 1
    print(found)
    assert not found.faults, "\n".join([str(found), *found.faults.values()])
    assert COUNT < 100 or min(found.ends[one] for one in ends) >= COUNT // 50, str(found)
    return found


def _end(found: Verdicts, number: int, given: T, enter: Callable[[T], object]) -> str:
    try:
        with _bounded_work():
            enter(given)
        return "right"
    except (UserError, ToolError) as error:
        said = str(error)
        if 0 < len(said) <= LONGEST and "\n" not in said and "Traceback" not in said:
            return "refused"
        found.fault(f"sentence {said[:20]}", f"{number}: no sentence: {said[:1000]!r}")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # any other end is what is looked for, a panic of a library written in Rust too
        story = traceback.format_exc()
        where = re.findall(r'File "([^"]+)", line (\d+)', story)[-1]
        found.fault(f"{type(error).__name__} {where}", f"{number}: {str(given)[:300]!r}\n{story[-3000:]}")
    return "faults"


@contextlib.contextmanager
def _bounded_work() -> Iterator[None]:
    """Ends the block with `TooMuchWork` once it has had its share of the processor, which a busy machine does not change."""

    def over(*_: object) -> None:
        raise TooMuchWork

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    """The system refuses what is asked for beyond `MEMORY`, and a `MemoryError` is no end that is allowed."""
    if not sys.platform.startswith("linux"):
        yield
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def command(*arguments: str) -> int:
    """A command of the command line in this process. A sentence of exit code 2 is raised as the `UserError` it was."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(arguments))
        except SystemExit as left:  # argparse's own
            code = int(left.code or 0)
        out.flush()
        err.flush()
    shown = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    for text in shown:
        raw = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", raw), f"raw characters on the screen: {raw[:500]!r}"
    if code == 2:
        raise UserError(shown[1].strip().splitlines()[-1] if shown[1].strip() else "")
    assert code in (0, 1), f"exit code {code}: {_story(shown[1])}"
    return code


def _story(said: str) -> str:
    """What a fault's log says, which goes: a test reports it."""
    found = re.search(r"the log lies at (\S+):", said)
    if found is None:
        return said[-3000:]
    log = Path(found[1])
    text = log.read_text(encoding="utf-8")
    log.unlink()
    return text[-3000:]
