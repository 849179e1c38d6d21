"""What a text of strangers may do to a screen: nothing; and what nobody sees is shown."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.cli import main
from agenttune.screens.inert import inert, inert_html, inert_json
from tests.conftest import CHATML
from tests.work import grows_linearly


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31m\x07\x9b\x7f", "a\\x1b[31m\\x07\\x9b\\x7f"),
        ("a\u202eb", "a\\N{RIGHT-TO-LEFT OVERRIDE}b"),
        ("pay\u200bpal", "pay\\N{ZERO WIDTH SPACE}pal"),
        ("\ufeffa", "\\N{ZERO WIDTH NO-BREAK SPACE}a"),
        ("a\xadb", "a\\xadb"),
        ("hi\U000e0041", "hi\\N{TAG LATIN CAPITAL LETTER A}"),
        ("\U000e0fff", "\\U000e0fff"),
        ("a\u2028b", "a\\N{LINE SEPARATOR}b"),
        ("a\u200db", "a\\N{ZERO WIDTH JOINER}b"),
        ("a\ufe01\ufe02", "a\\N{VARIATION SELECTOR-2}\\N{VARIATION SELECTOR-3}"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_not_seen_is_shown(text: str, shown: str) -> None:
    assert inert(text) == shown


@pytest.mark.parametrize(
    "text", ["a\tb\n", "😀 👨\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3", "می\u200cخواهم", "क\u094d\u200dष", "北京 éß", "e\u0301"]
)
def test_what_people_write_stays(text: str) -> None:
    assert inert(text) == text


def test_no_control_or_format_character_of_unicode_stays_beside_ascii() -> None:
    bad = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    kept = {one for one in bad if one in inert(f"a{one}b")}
    visible = {"\n", "\t"} | {one for one in kept if "ARABIC" in unicodedata.name(one, "") or unicodedata.name(one, "").startswith(VISIBLE)}
    assert kept - visible == set()


# Format characters that are seen: signs that stand over numbers or words (Unicode 15, chapter 23).
VISIBLE = ("SYRIAC ABBREVIATION", "KAITHI NUMBER SIGN", "EGYPTIAN HIEROGLYPH")


def test_a_page_reads_none_of_it_as_its_own() -> None:
    assert inert_html("<b>\u200b&\x1b") == "&lt;b&gt;\\N{ZERO WIDTH SPACE}&amp;\\x1b"


def test_json_says_what_it_said() -> None:
    said = {"a": "x\x7f\x9b\u200b\u202e\U000e0041 é"}
    made = inert_json(json.dumps(said, ensure_ascii=False))
    assert json.loads(made) == said
    assert made == '{"a": "x\\u007f\\u009b\\u200b\\u202e\\udb40\\udc41 é"}'


# ChatML, but for conversations that are longer than any a template is tried with before it is used.
EVIL = "{% if messages | length > 8 %}{{ raise_exception('\x1b]0;owned\x07 \u202e no \u200b[red]roles[/red]') }}{% endif %}" + CHATML


def test_the_refusal_of_a_chat_template_reaches_the_screen_inert(
    tmp_path: Path, made_tokenizer: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the template raises is shown, and nothing of it is obeyed."""
    tokenizer = made_tokenizer("chatml")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(EVIL)
    turns = [{"system": "", "input": f"q{number}", "output": "Final Answer: a"} for number in range(6)]
    (tmp_path / "samples.jsonl").write_text(json.dumps({"id": "s", "protocol": "react", "tools": [], "conversation": turns}) + "\n")
    main(["show", str(tmp_path / "samples.jsonl"), "--tokens", str(tmp_path / "model")])
    said = "".join(capsys.readouterr())
    assert "\\x1b]0;owned\\x07 \\N{RIGHT-TO-LEFT OVERRIDE} no \\N{ZERO WIDTH SPACE}[red]roles[/red]" in said
    assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(said)


def test_the_work_is_linear() -> None:
    assert grows_linearly(lambda size: inert("a\u200d" * size), 5000)
