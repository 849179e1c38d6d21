"""What becomes of drawn lines when a window gets narrower: most terminals wrap them, so that what was drawn takes more rows than before."""

from __future__ import annotations

import os
from collections.abc import Mapping

from prompt_toolkit.layout.screen import Screen

_SAID_BY = (
    *("TMUX", "VTE_VERSION", "KITTY_WINDOW_ID", "WEZTERM_PANE", "ALACRITTY_WINDOW_ID", "KONSOLE_VERSION", "WT_SESSION"),
    "GHOSTTY_RESOURCES_DIR",
)
_PROGRAMS = ("iTerm.app", "Apple_Terminal", "vscode", "ghostty", "WezTerm")  # $TERM_PROGRAM


def wraps_again(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this terminal is known to wrap lines again when it gets narrower. xterm, the Linux console and screen do not."""
    return any(environment.get(name) for name in _SAID_BY) or environment.get("TERM_PROGRAM") in _PROGRAMS


def more_rows(screen: Screen, cursor: tuple[int, int], columns: int) -> int:
    """How many rows further down the `cursor` (column, row) of a drawn screen stands once its lines are wrapped at `columns`."""
    column, row = cursor
    above = sum(max(_width(screen, one) - 1, 0) // columns for one in range(row))
    return above + column // columns


def _width(screen: Screen, row: int) -> int:
    """Columns of a row up to its last letter."""
    letters = screen.data_buffer[row]
    return max((column + letter.width for column, letter in list(letters.items()) if letter.char.strip()), default=0)
