"""Draws ``chat.svg``, the picture on the front page, from a recorded conversation: ``python docs/picture/draw.py``.

``session.jsonl`` is what ``/save session.jsonl`` wrote at the end of a real ``agenttune chat``; nothing in it was edited. It is shown by
the program's own blocks, as ``/show`` shows a round, and exported by rich.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from agenttune.files import write_text
from agenttune.screens.blocks import note
from agenttune.screens.show.views import show_round
from agenttune.values.trajectory import Trajectory
from agenttune.values.trajectory_json import trajectory_from_json

HERE = Path(__file__).resolve().parent
COMMAND = "$ agenttune chat smollm2-135m --adapter runs/demo/adapter"
WIDTH = 92
# A picture in a page loads nothing: in the place of web fonts it names the reader's own.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "font-family: Fira Code, monospace", "font-family: DejaVu Sans Mono, Menlo, Consolas, monospace"
)


def session() -> Trajectory:
    """The recorded conversation."""
    return trajectory_from_json(json.loads((HERE / "session.jsonl").read_text(encoding="utf-8")))


def drawn(trajectory: Trajectory) -> str:
    """The conversation as an SVG."""
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        markup=False,
        highlight=False,
        emoji=False,
    )
    note(console, COMMAND, style="bold")
    for round_ in trajectory.rounds:
        note(console, "")
        show_round(console, round_)
    return console.export_svg(title="agenttune chat", code_format=FORMAT, unique_id="chat")


if __name__ == "__main__":
    write_text(HERE / "chat.svg", drawn(session()))
    print(HERE / "chat.svg")
