"""Python in a sandbox: pydantic-monty, an interpreter of its own without files, network or processes."""

from __future__ import annotations

from typing import Annotated, Any

from agenttune.agent.toolbox import READ_ONLY, Requires, ToolError

SECONDS = 5.0  # of computing, and as many of sleeping
MEMORY = 128 << 20  # bytes
OUTPUT = 1 << 17  # bytes


def python(code: str) -> Annotated[str, READ_ONLY, Requires("agenttune[python]")]:
    """Runs Python code in a sandbox and gives what it prints and the value of its last expression.

    Args:
        code: a small program; standard modules such as math, re, json and datetime can be imported
    """
    try:
        from pydantic_monty import CollectString, Monty, MontyError
    except ImportError as error:
        raise ToolError("Python code needs the extra agenttune[python]: pip install 'agenttune[python]'") from error
    printed = CollectString(max_bytes=OUTPUT)
    limits = {"max_feed_duration_secs": SECONDS, "max_memory": MEMORY, "max_recursion_depth": 400, "max_total_sleep_secs": SECONDS}
    try:
        with Monty(max_processes=1) as pool, pool.checkout(limits=limits) as session:
            value = session.feed_run(code, print_callback=printed)
    except MontyError as error:
        raise ToolError(printed.output + _failure(error)) from error
    return (printed.output + ("" if value is None else _shown(value))).rstrip("\n") or "The code ran and printed nothing."


def _failure(error: Any) -> str:
    """``Class: message``, and the line of the code it came from."""
    frames = error.traceback() if hasattr(error, "traceback") else []
    text = error.display("type-msg") if hasattr(error, "traceback") else str(error)
    return f"{text} (line {frames[-1].line})" if frames else str(text)


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError as error:  # an integer of more digits than Python writes
        raise ToolError(f"the last value cannot be shown: {error}") from error
