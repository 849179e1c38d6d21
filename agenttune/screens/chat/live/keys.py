"""What the keys do on the live screen."""

from __future__ import annotations

from typing import Protocol

from prompt_toolkit.filters import has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

# The keys as /help tells them, in the order in which a person wants them.
KEYS = (
    "Enter sends; what you send while it works waits for its turn. Ctrl-T steers: the question ends after its tools, and yours is next.",
    "Alt-Enter begins a new line, Ctrl-G opens your editor, Ctrl-R searches what was typed before, Tab completes commands, tools, paths.",
    "Ctrl-O shows a shortened result in full. A text that begins with two slashes is sent with one.",
    "Ctrl-C stops the step, then clears the line; twice leaves. Ctrl-D leaves. Ctrl-Z sleeps.",
)


class KeyTarget(Protocol):
    """What the keys act on: see `LiveScreen`."""

    @property
    def asking(self) -> bool:
        """Whether a call waits for a yes."""

    def enter(self, text: str, *, steer: bool = False) -> None:
        """A text was sent."""

    def interrupt(self, typed: bool) -> bool:
        """Ctrl-C; whether the line is to be cleared."""

    def leave(self) -> None:
        """Ctrl-D on an empty line."""

    def open_shortened(self) -> None:
        """The last shortened observation in full."""


def bindings(screen: KeyTarget) -> KeyBindings:
    """The keys of a screen, over those of the line editor."""
    keys = KeyBindings()
    typing = has_focus("DEFAULT_BUFFER")  # not while Ctrl-R searches

    def send(event: KeyPressEvent, *, steer: bool) -> None:
        buffer = event.current_buffer
        text = buffer.text
        if text.strip() and not screen.asking:
            buffer.append_to_history()
        buffer.reset()
        screen.enter(text, steer=steer)

    @keys.add("enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        send(event, steer=False)

    @keys.add("c-t", filter=typing)
    def _(event: KeyPressEvent) -> None:
        send(event, steer=True)

    @keys.add("escape", "enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-g", filter=typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor(validate_and_handle=False)

    @keys.add("c-o", filter=typing)
    def _(event: KeyPressEvent) -> None:
        screen.open_shortened()

    @keys.add("c-c", filter=typing)
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if screen.interrupt(bool(event.current_buffer.text)):
            event.current_buffer.reset()

    @keys.add("c-d", filter=typing)
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.delete()
        elif not screen.asking:
            screen.leave()

    return keys
