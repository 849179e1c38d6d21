"""One command from its arguments to its exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from agenttune.cli.commands import parser
from agenttune.cli.environment import prepare
from agenttune.cli.sentences import fault, sentence
from agenttune.errors import UserError

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code.

    0 clean, 1 done with findings, 2 a person must change something, 3 below a threshold that was set, 70 a fault of agenttune, 130
    interrupted.
    """
    prepare()
    options = _options(arguments)
    command: Command = options.command
    _wait_politely(spins=getattr(options, "spins", False))
    try:
        with _offline(options):
            return command(options)
    except UserError as error:
        sentence(str(error))
        return 2
    except KeyboardInterrupt as interrupt:
        sentence(str(interrupt) or "interrupted")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone; nothing is wrong here
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        sentence(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 2
    except Exception as error:  # nobody foresaw it: a person needs a sentence, and whoever mends it the whole story
        sentence(fault(error, list(arguments) if arguments is not None else sys.argv[1:]))
        return 70


# GNU OpenMP's turns of a waiting thread before it sleeps (libgomp, environment variable GOMP_SPINCOUNT; its own default is 300,000). 4,000
# are some 200 microseconds, longer than threads of one matrix product are apart; beside another program that computes, threads that spin
# take the cores from the one they wait for. Measured in docs/benchmarks.md ("Beside a training").
_SPINS = "4000"


def _wait_politely(*, spins: bool) -> None:
    """Before torch is imported: threads that wait leave the core to others, unless the person said how. Training keeps its own."""
    if not spins and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; argparse would take ``key=value`` only where they all stand together."""
    options, rest = parser().parse_known_args(arguments)
    if rest and (not hasattr(options, "overrides") or any(one.startswith("-") for one in rest)):
        parser().error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.overrides += rest
    return options


@contextlib.contextmanager
def _offline(options: argparse.Namespace) -> Iterator[None]:
    """With --offline the tools of this command, whose processes read the environment, ask nobody."""
    if not getattr(options, "offline", False):
        yield
        return
    from agenttune.agent.toolbox.search.settings import OFFLINE

    before = os.environ.get(OFFLINE)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        del os.environ[OFFLINE]
        if before is not None:
            os.environ[OFFLINE] = before
