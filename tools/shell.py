"""A command of the system's shell, with everything it can do: it asks each time, and runs nowhere where nobody can be asked."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Annotated

from agenttune.agent.toolbox import UNTRUSTED, Effect, Requires, ToolError

SHELL = "/bin/sh"
OUTPUT = 1 << 16  # bytes
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def shell(command: str) -> Annotated[str, Effect.DESTRUCTIVE, UNTRUSTED, Requires("a yes, each time")]:
    """Runs a command line in the shell and gives what it prints and how it ended.

    Args:
        command: one command line
    """
    environment = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    try:
        child = subprocess.Popen(
            [SHELL, "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
    except (OSError, ValueError) as error:  # no shell here; a null character in the command
        raise ToolError(f"the command cannot be run: {error}") from error
    with child:
        assert child.stdout is not None
        printed = child.stdout.read(OUTPUT + 1)
        if len(printed) > OUTPUT:
            child.kill()
        child.stdout.close()
        code = child.wait()
    text = printed[:OUTPUT].decode("utf-8", "replace").rstrip("\n")
    if len(printed) > OUTPUT:
        return f"{text}\n[stopped: it printed more than {OUTPUT} bytes]"
    return text if code == 0 and text else "\n".join(filter(None, (text, f"[exit code {code}]")))
