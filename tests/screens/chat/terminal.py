"""``agenttune chat`` as a program of its own, with a scripted model that may be slow, and a terminal to sit at."""

from __future__ import annotations

import json
import sys
from pathlib import Path

# The command line as it is, but for the model: it says the replies of a file, the first whose word the newest question holds.
PROGRAM = """
import json, sys, time
from agenttune import cli, models
from agenttune.models.scripted import ScriptedBatch, ScriptedModel

told = json.loads(open(sys.argv[1], encoding="utf-8").read())

class Slow(ScriptedModel):
    def start(self, prompts, prefixes):
        rows = super().start(prompts, prefixes)
        time.sleep(told["prefill"])
        advance = rows.advance
        def wait(tokens):
            time.sleep(told["delay"])
            advance(tokens)
        rows.advance = wait
        return rows

def load(name, *, adapter=None, **more):
    replies = iter(told["adapters"][adapter] if adapter else told["replies"])
    model = Slow(replies, context=told["context"])
    model.name = name
    return model

models.load = load
sys.exit(cli.main(["chat", *sys.argv[2:]]))
"""


def chat_command(
    folder: Path,
    replies: list[str],
    *arguments: str,
    delay: float = 0.0,
    prefill: float = 0.0,
    context: int = 1 << 20,
    adapters: dict[str, list[str]] | None = None,
) -> list[str]:
    """The command of a chat with a model ``scripted`` that says `replies`, with an adapter those of `adapters`; `delay` seconds a token."""
    told = {"replies": replies, "delay": delay, "prefill": prefill, "context": context, "adapters": adapters or {}}
    file = folder / "replies.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    return [sys.executable, "-c", PROGRAM, str(file), "scripted", *arguments]
