"""What a person is told on standard error."""

from __future__ import annotations

import os
import sys


def sentence(text: str) -> None:
    """One sentence, under the program's name."""
    from agenttune.screens.inert import inert

    process = os.environ.get("RANK", "0")  # of a run with several; the first speaks for all
    who = "agenttune" if process == "0" else f"agenttune, process {process}"
    print(f"{who}: {inert(text)}", file=sys.stderr)


def fault(error: Exception, arguments: list[str]) -> str:
    """What to say of an error that is no person's, whose story is written into a file of its own."""
    import platform
    import tempfile
    import traceback

    from agenttune import __version__

    story = "".join(traceback.format_exception(error))
    said = f"this is a fault of agenttune ({type(error).__name__}: {str(error)[:200]})"
    head = f"agenttune {__version__}, Python {platform.python_version()}, {platform.platform()}\nagenttune {' '.join(arguments)}\n\n"
    try:
        handle, name = tempfile.mkstemp(prefix="agenttune-fault-", suffix=".log")
        with open(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(head + story)
    except OSError:
        return f"{said}; no log could be written: {story[-2000:]}"
    return f"{said}; the log lies at {name}: please send it to whoever maintains agenttune"
