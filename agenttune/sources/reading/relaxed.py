"""JSON as people write it by hand: comments, trailing commas, single quotes, bare keys, Python's words. Each liberty is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from agenttune.errors import Refusal
from agenttune.values.trajectory import Json

MAX_TEXT = 1 << 22  # characters
_MAX_DEPTH = 200
_BLANK = re.compile(r"[\s\ufeff]*")
_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_KEY = re.compile(r"[A-Za-z_$][\w$.-]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
_WORDS: dict[str, tuple[Json, str]] = {
    "true": (True, ""), "false": (False, ""), "null": (None, ""),
    "True": (True, "python_word"), "False": (False, "python_word"), "None": (None, "python_word"),
}  # fmt: skip
_STRING = {'"': re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL), "'": re.compile(r"'((?:[^'\\]++|\\.)*+)'", re.DOTALL)}
_INSIDE = re.compile(r"\\(.)|([\x00-\x1f\"])", re.DOTALL)
_KEPT = '"\\/bfnrtu'  # letters after a backslash that JSON knows


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0
    names: set[str] = field(default_factory=set)

    def value(self, depth: int) -> Json:
        self.skip()
        letter = self.text[self.at : self.at + 1]
        if depth > _MAX_DEPTH:
            raise self.wrong("it is nested too deeply")
        if letter == "{":
            return self.object(depth)
        if letter == "[":
            return self.array(depth)
        if letter in _STRING and letter:
            return self.string(letter)
        if number := _NUMBER.match(self.text, self.at):
            self.at = number.end()
            return json.loads(number.group())
        return self.word()

    def skip(self) -> None:
        """Past blanks and comments."""
        while True:
            self.at = self._blank()
            found = _COMMENT.match(self.text, self.at)
            if not found:
                return
            self.names.add("comment")
            self.at = found.end()

    def _blank(self) -> int:
        found = _BLANK.match(self.text, self.at)
        return found.end() if found else self.at

    def object(self, depth: int) -> Json:
        found: dict[str, Json] = {}
        for _ in self.items("}"):
            key = self.key()
            self.skip()
            self.need(":")
            if key in found:
                raise Refusal("key_twice", "an object has one key twice", self.text[max(self.at - 200, 0) : self.at + 200])
            found[key] = self.value(depth + 1)
        return found

    def array(self, depth: int) -> Json:
        return [self.value(depth + 1) for _ in self.items("]")]

    def items(self, end: str) -> Iterator[None]:
        """Stands before each item in turn, and in the end behind the bracket."""
        self.at += 1
        self.skip()
        first = True
        while self.text[self.at : self.at + 1] != end:
            if not first:
                self.need(",")
                self.skip()
                if self.text[self.at : self.at + 1] == end:
                    self.names.add("trailing_comma")
                    break
            yield
            self.skip()
            first = False
        self.at += 1

    def key(self) -> str:
        letter = self.text[self.at : self.at + 1]
        if letter in _STRING and letter:
            return self.string(letter)
        found = _KEY.match(self.text, self.at)
        if not found:
            raise self.wrong("a key is missing")
        self.names.add("bare_key")
        self.at = found.end()
        return found.group()

    def string(self, quote: str) -> str:
        found = _STRING[quote].match(self.text, self.at)
        if not found:
            raise self.wrong("a text has no end")
        self.at = found.end()
        if quote == "'":
            self.names.add("single_quotes")
        try:
            value = json.loads(f'"{_INSIDE.sub(self._inside, found.group(1))}"')
        except ValueError as error:
            raise self.wrong("a text has an escape that JSON does not know") from error
        assert isinstance(value, str)
        return value

    def _inside(self, found: re.Match[str]) -> str:
        """A letter of a text as JSON writes it: an escape it knows, a quote, a raw control character."""
        escaped, raw = found.group(1), found.group(2)
        if escaped == "'":
            return "'"
        if escaped:
            return found.group()
        if raw != '"':
            self.names.add("control_character")
        return json.dumps(raw)[1:-1]

    def word(self) -> Json:
        found = _WORD.match(self.text, self.at)
        if not found or found.group() not in _WORDS:
            raise self.wrong("a value is missing")
        value, name = _WORDS[found.group()]
        self.names |= {name} - {""}
        self.at = found.end()
        return value

    def need(self, letter: str) -> None:
        if self.text[self.at : self.at + 1] != letter:
            raise self.wrong(f'"{letter}" is missing')
        self.at += 1

    def wrong(self, what: str) -> Refusal:
        return Refusal("json", f"not even relaxed JSON: {what} at character {self.at}", self.text[max(self.at - 200, 0) : self.at + 200])


def relaxed(text: str) -> tuple[Json, tuple[str, ...]]:
    """An object or a list in relaxed JSON, and the liberties it took, in order: ``bare_key``, ``comment``, ``control_character``,
    ``python_word``, ``single_quotes``, ``trailing_comma``. Nothing is guessed: a missing bracket or comma stays an error.

    Raises `Refusal` (``json``, ``key_twice``).
    """
    if len(text) > MAX_TEXT:
        raise Refusal("json", f"relaxed JSON of more than {MAX_TEXT} characters is not read", text)
    reader = _Reader(text)
    reader.skip()
    if text[reader.at : reader.at + 1] not in ("{", "["):
        raise reader.wrong("no object and no list")
    value = reader.value(0)
    reader.skip()
    if reader.at < len(text):
        raise reader.wrong("text follows the end")
    return value, tuple(sorted(reader.names))


_names: ContextVar[list[str] | None] = ContextVar("relaxed_names", default=None)


@contextmanager
def allowed(names: list[str]) -> Iterator[None]:
    """While it is entered, `read_value` reads relaxed JSON too, wherever a reader calls it; the liberties are appended to `names`.

    A context and no option, since the readers call it from many depths and none of them has to know.
    """
    token = _names.set(names)
    try:
        yield
    finally:
        _names.reset(token)


def if_allowed(text: str) -> Json:
    """What `relaxed` reads, where that is allowed. Raises `Refusal`."""
    names = _names.get()
    if names is None:
        raise Refusal("json", "not JSON", text)
    value, found = relaxed(text)
    names += found
    return value
