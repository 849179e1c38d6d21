"""The process above a worker: when the worker or the parent ends, it ends whatever the tools started, however they hid it.

``python -I -S reaper.py PROGRAM …`` runs a program in the same way; its standard input is what the parent holds open.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

PATIENCE = 5.0  # seconds for killed processes to be gone
_DEATH_SIGNAL, _SUBREAPER = 1, 36  # PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of <linux/prctl.h>


def become_reaper() -> None:
    """From now on a process below this one that loses its parent stays below this one, also in a session of its own (Linux only)."""
    _prctl(_SUBREAPER, 1)


def die_with_parent() -> None:
    """From now on this process is killed when the one above it ends (Linux only)."""
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def watch(worker: int, requests: int) -> NoReturn:
    """Waits until the worker ends, `requests` loses its writer, or SIGTERM comes; ends all below this process; ends as the worker did."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    ready = select.poll()
    ready.register(reader, select.POLLIN)
    ready.register(requests, 0)  # only that its other end was closed
    status = _reaped(worker)
    while status is None:
        for descriptor, _ in ready.poll():
            if descriptor == requests or signal.SIGTERM in os.read(reader, 4096):
                status = int(signal.SIGKILL)
        status = _reaped(worker) if status is None else status
    _end_below()
    _end_as(status)


def _reaped(worker: int) -> int | None:
    """Takes in whatever has ended below; the worker's status if it is among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            status = found[1] if found[0] == worker else status
    return status


def _end_below() -> None:
    """Kills until nothing is left below this process; a process that forks meanwhile is met in the next round."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for pid in _below(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _below(top: int) -> list[int]:
    """Every process below `top`, by the parents that ``/proc`` names; where there is none, none is known."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(entry.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found: list[int] = []
    waiting = [top]
    while waiting:
        below = children.pop(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _end_as(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler to set
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)


def main() -> None:
    """Runs the program that the command line names below this process."""
    become_reaper()
    program = os.fork()
    if not program:
        die_with_parent()
        try:
            os.execvp(sys.argv[1], sys.argv[1:])
        except OSError as error:
            print(f"{sys.argv[1]}: {error.strerror}", file=sys.stderr)
            os._exit(127)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    watch(program, 0)


if __name__ == "__main__":
    main()
