"""The pages say what is so: their programs run and print what stands there, their links lead somewhere, their flags exist."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune.cli import parser
from tests.docs.blocks import PAGES, ROOT, fences, run_page

DOCS = sorted((ROOT / "docs").glob("*.md"))
RUN = [path for path in PAGES if any("run" in block.words for block in fences(path.read_text(encoding="utf-8")))]
MODEL = [path for path in PAGES if any("model" in block.words for block in fences(path.read_text(encoding="utf-8")))]
# The page that explains a command, and so names each of its flags.
PAGE_OF = {
    "convert": "convert.md", "report": "convert.md", "show": "convert.md", "train": "train.md", "plan": "train.md", "configs": "train.md",
    "chat": "chat.md", "eval": "evaluate.md", "compare": "evaluate.md", "selftest": "evaluate.md", "tools": "tools.md", "serve": "serve.md",
    "demo": "quickstart.md",
}  # fmt: skip
OTHERS = {"--no-deps", "--nproc_per_node", "--help", "--version"}  # flags of pip, of torchrun, and of every command
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command's own parser, by its name; a command of several verbs is the parser of them all."""
    (found,) = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(found.choices)


def flags(one: argparse.ArgumentParser) -> Iterator[str]:
    """Long flags of a parser and of its verbs."""
    for action in one._actions:
        yield from (option for option in action.option_strings if option.startswith("--") and option != "--help")
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from flags(verb)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.name)
def test_what_a_page_shows_is_what_comes(path: Path, tmp_path: Path) -> None:
    count = 0
    for ran in run_page(text_of(path), tmp_path):
        count += 1
        assert ran.same, f"{path.name}: {ran.command}\n--- the page:\n{ran.told}\n--- what came:\n{ran.printed}"
    print(f"{path.name}: {count} programs")


@pytest.mark.slow
@pytest.mark.parametrize("path", MODEL, ids=lambda path: path.name)
def test_what_a_page_does_with_the_embedded_model(path: Path, tmp_path: Path, smollm2: str) -> None:
    assert smollm2 == "smollm2-135m"
    for ran in run_page(text_of(path), tmp_path, ("run", "model")):
        assert ran.same, f"{path.name}: {ran.command}\n--- the page:\n{ran.told}\n--- what came:\n{ran.printed}"


def test_enough_is_run() -> None:
    run = sum("run" in block.words for path in PAGES for block in fences(text_of(path)))
    print(f"{run} blocks")
    assert run >= 20
    assert {path.name for path in RUN} >= {"convert.md", "train.md", "evaluate.md", "tools.md", "extend.md", "python.md"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_program_is_run_or_from_a_named_machine(path: Path) -> None:
    """A block that shows a command is run, or says that it is from a machine, which the page then names."""
    page = text_of(path)
    for block in fences(page):
        if block.language in ("console", "python"):
            assert {"run", "model", "machine", "elsewhere"} & set(block.words) or block.file, f"{path.name}: {block.text[:80]}"
        if "machine" in block.words:
            assert re.search(r"machine: .*(CPU|GPU)", page), f"{path.name} shows what a machine said and does not name the machine"


def anchors(path: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    page = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def dead(path: Path, link: str) -> bool:
    """Whether a link of a page leads nowhere in this repository. A link into the web is not followed."""
    if re.match(r"(https?|mailto):", link):
        return False
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    return not target.exists() or bool(anchor and (target.suffix != ".md" or anchor not in anchors(target)))


def links(path: Path) -> list[str]:
    page = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
    return ["".join(found) for found in _LINK.findall(page)]


def test_no_link_is_dead() -> None:
    assert sum(len(links(path)) for path in PAGES) > 20
    assert [f"{path.name}: {link}" for path in PAGES for link in links(path) if dead(path, link)] == []


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading\n\n[a](page.md#one-heading) [b](page.md#other) [c](gone.md) ![d](gone.svg)\n", encoding="utf-8")
    assert [link for link in links(page) if dead(page, link)] == ["page.md#other", "gone.md", "gone.svg"]


def test_every_page_is_reached_from_the_front_page() -> None:
    assert {f"docs/{path.name}" for path in DOCS} <= {link.partition("#")[0] for link in links(ROOT / "README.md")}


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_flag_of_a_command_is_named_on_its_page(name: str) -> None:
    page = text_of(ROOT / "docs" / PAGE_OF[name])
    assert f"agenttune {name}" in page
    named = set(_FLAG.findall(page))
    assert [flag for flag in flags(commands()[name]) if flag not in named] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_no_flag_that_does_not_exist(path: Path) -> None:
    known = {flag for one in commands().values() for flag in flags(one)} | OTHERS
    assert sorted(set(_FLAG.findall(text_of(path))) - known) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_flag_stands_behind_its_own_command(path: Path) -> None:
    found = commands()
    for line in text_of(path).replace("\\\n", " ").splitlines():
        for command, rest in re.findall(r"\bagenttune (\w+)([^`|#]*)", line):
            if command in found:
                assert set(_FLAG.findall(rest)) - OTHERS <= set(flags(found[command])), line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_command_that_is_not_run_is_one_that_could_be(path: Path) -> None:
    """Lines of `agenttune` and `make` in blocks that are not run: their arguments are understood, their targets exist."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for block in fences(text_of(path)):
        for line in block.text.splitlines() if "run" not in block.words else ():
            words = shlex.split(line, comments=True) if re.match(r"(agenttune|make) [^\[]*$", line) else []
            if words[:1] == ["agenttune"]:
                parser().parse_args(words[1:])
            elif words:
                assert words[1] in targets, line


def test_the_front_page_is_short() -> None:
    page = (ROOT / "README.md").read_bytes()
    assert len(page) <= 10_000
    assert page.count(b"\n") <= 200
