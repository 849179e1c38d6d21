"""The fenced blocks of a page: what is run, what is a file, and what comes out.

The words after a block's language say what it is:

- ``console run``: lines with ``$`` are run one after the other, and the lines below each are its output, compared to the letter;
  a line ``…`` stands for any number of lines.
- ``python run``: runs as a program; the block ``text output`` behind it, if there is one, is what it prints.
- ``LANGUAGE file=NAME``: is written as that file, for the blocks behind it.
- ``python model``: as ``python run``, with the embedded model: by the slow tests.
- ``console machine``: comes from a machine that the page names; it is not run.
- ``python elsewhere``: needs a server and a package of others; the tests of serving do the same.

Blocks in other languages, or in none, are no programs. All blocks of a page share one folder. ``python -m tests.docs.blocks PAGE…`` writes
the outputs that came into the pages, for a person to read before they are kept.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"[|><;&*]")  # what agenttune's own argument parser does not understand
DOTS = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One fenced block: its language, the words behind it, its text, and where the text begins in the page."""

    language: str
    words: tuple[str, ...]
    text: str
    start: int

    @property
    def file(self) -> str:
        """The name in ``file=NAME``, else empty."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was run, what the page says that it prints, what it printed, and where the page says so."""

    command: str
    told: str
    printed: str
    start: int
    end: int

    @property
    def same(self) -> bool:
        """Whether the page tells what was printed."""
        parts = [re.escape(part) for part in re.split(rf"^{DOTS}\n", self.told, flags=re.MULTILINE)]
        return re.fullmatch("(?:.*\n)*?".join(parts), self.printed) is not None


def fences(page: str) -> list[Fence]:
    """The blocks of a page's text, in order."""
    return [Fence(language=m[1], words=tuple(m[2].split()), text=m[3], start=m.start(3)) for m in _BLOCK.finditer(page)]


def run_page(page: str, folder: Path, kinds: Collection[str] = ("run",)) -> Iterator[Ran]:
    """Runs a page's blocks of some kinds in `folder`, in order, and yields what each program printed."""
    blocks = fences(page)
    for index, block in enumerate(blocks):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if not set(kinds) & set(block.words):
            continue
        if block.language == "python":
            shown = blocks[index + 1] if index + 1 < len(blocks) and "output" in blocks[index + 1].words else None
            told, start = (shown.text, shown.start) if shown else ("", block.start)
            yield Ran(command=block.text, told=told, printed=_program(block.text, folder), start=start, end=start + len(told))
        else:
            yield from _console(block, folder)


def _console(block: Fence, folder: Path) -> Iterator[Ran]:
    assert block.text.startswith("$ "), f"a console block begins with a command: {block.text[:60]}"
    at = block.start
    for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        count = 1
        while lines[count - 1].endswith("\\\n"):
            count += 1
        command = "".join(lines[:count])
        told = "".join(lines[count:])
        start = at + len(command)
        at += len(part)
        yield Ran(command=command, told=told, printed=_command(command[2:].replace("\\\n", " ").strip(), folder), start=start, end=at)


def _command(command: str, folder: Path) -> str:
    words = shlex.split(command)
    if words[0] == "agenttune" and not any(_SHELL.search(part) for part in _bare(command)):
        return _agenttune(words[1:], folder)
    return _done(["bash", "-c", f'agenttune() {{ {shlex.quote(sys.executable)} -m agenttune "$@"; }}; {command}'], folder)


def _bare(command: str) -> list[str]:
    """The parts of a command outside quotes."""
    return re.split(r"'[^']*'|\"[^\"]*\"", command)


def _agenttune(words: list[str], folder: Path) -> str:
    """One command in this process, which costs no start of Python: what it prints, then what it says beside, without progress."""
    from agenttune.cli import main

    out, errors = io.StringIO(), io.StringIO()
    printed = (contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors))
    with (
        contextlib.chdir(folder),
        printed[0],
        printed[1],
        _surrounded(folder),
        contextlib.suppress(SystemExit),
    ):  # argparse leaves by SystemExit
        main(words)
    said = [line for line in errors.getvalue().splitlines(keepends=True) if not line.startswith("[")]  # "[====  ] 12/60": progress
    return _trimmed(out.getvalue() + "".join(said))


def _surroundings(folder: Path) -> dict[str, str]:
    return {"COLUMNS": "100", "XDG_CONFIG_HOME": str(folder / ".config")}


@contextlib.contextmanager
def _surrounded(folder: Path) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(_surroundings(folder))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _program(text: str, folder: Path) -> str:
    return _done([sys.executable, "-c", text], folder)


def _done(command: list[str], folder: Path) -> str:
    environment = {
        **os.environ,
        "COLUMNS": "100",
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
    ran = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return _trimmed(ran.stdout)


def _trimmed(text: str) -> str:
    """Without blanks at the ends of lines, which editors take away from a page."""
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def written(page: str, folder: Path) -> str:
    """The page with what its programs print now. An output with a line ``…`` stays if it still fits."""
    found = [one for one in run_page(page, folder) if not one.same]
    for one in reversed(found):
        page = page[: one.start] + one.printed + page[one.end :]
    return page


def main(names: list[str]) -> None:
    """Writes outputs into pages."""
    for path in [Path(name) for name in names] or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            text = path.read_text(encoding="utf-8")
            path.write_text(written(text, Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
