"""What Tab offers: commands and what they take, sessions, tools by name, and paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from agenttune.screens.chat.commands.base import Command
from agenttune.screens.chat.session_file import sessions_folder, summaries

SESSIONS = 30


class ChatCompleter(Completer):
    """Completes the word before the cursor."""

    def __init__(self, commands: Mapping[str, Command], tools: Sequence[str]) -> None:
        self._commands, self._tools = commands, tools
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """See `Completer`."""
        text = document.text_before_cursor
        if text.startswith("/") and "/" not in text[1:] and " " not in text and "\n" not in text:
            yield from _starting((f"/{name}" for name in sorted(self._commands)), text)
            return
        word = text.rpartition(" ")[2].rpartition("\n")[2]
        command = self._commands.get(text[1:].partition(" ")[0]) if text.startswith("/") else None
        if command is not None:
            yield from self._argument(command, text, word, complete_event)
        elif word.startswith(("/", "./", "../", "~")):
            yield from self._path(word, complete_event)
        elif word:
            yield from _starting(sorted(self._tools), word)

    def _argument(self, command: Command, text: str, word: str, event: CompleteEvent) -> Iterator[Completion]:
        words = list(command.words) if text.count(" ") == 1 else []
        if text.startswith("/load "):
            words += [one.path.stem for one in summaries(sessions_folder(), SESSIONS)]
        found = list(_starting(words, word))
        yield from found
        if command.paths and not found:
            yield from self._path(word, event)

    def _path(self, word: str, event: CompleteEvent) -> Iterable[Completion]:
        return self._paths.get_completions(Document(word), event)


def _starting(words: Iterable[str], start: str) -> Iterator[Completion]:
    yield from (Completion(word, start_position=-len(start)) for word in words if word.startswith(start))
