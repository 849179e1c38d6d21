"""A tool's card: its names, descriptions and parameters in several wordings, and the sentences that ask for it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from agenttune.desk.tables import TABLES
from agenttune.files import shipped

CARDS = shipped("evals") / "desk" / "cards"
KNOWN = ("known_numbers", "known_dates", "known_places", "known_words", "known_desk")
FURTHER = (
    "further_home",
    "further_town",
    "further_nature",
    "further_work",
    "further_errands",
    "further_devices",
    "further_leisure",
    "further_study",
)
SPLITS = {"t": "train", "d": "dev", "h": "heldout"}
_PATTERN = re.compile(r"([tdh])(z?)(?:-(\w+))?\Z")
_STOP = frozenset((TABLES / "small_words.txt").read_text(encoding="utf-8").split())


@dataclass(frozen=True, slots=True, kw_only=True)
class CardParameter:
    """One parameter of a tool: its own name, the pool of its values, and the names and label a list may show."""

    id: str
    kind: str
    pool: str
    names: tuple[str, ...]
    label: str
    label_zh: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A sentence with slots, asking for `tool`; `missing` names the required parameter it leaves out."""

    tool: str
    text: str
    split: str
    lang: str
    missing: str

    def near(self, line: str) -> bool:
        """Whether it shares a content word with a tool's line in the list: near if so, else oblique. The one rule for all cases."""
        return bool(stems(self.text) & stems(re.sub(r"[_-]", " ", line)))


@dataclass(slots=True)
class ToolCard:
    """One tool."""

    id: str
    families: frozenset[str]
    origin: str
    names: tuple[str, ...] = ()
    about: list[str] = field(default_factory=list)
    about_zh: list[str] = field(default_factory=list)
    parameters: list[CardParameter] = field(default_factory=list)
    gloss: str = ""
    gloss_zh: str = ""
    covers: frozenset[str] = frozenset()
    says: list[str] = field(default_factory=list)
    says_zh: list[str] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)

    def select(self, split: str, lang: str, missing: bool) -> list[Pattern]:
        """Its patterns of one split and language, those that leave something out or those that do not."""
        return [one for one in self.patterns if (one.split, one.lang, bool(one.missing)) == (split, lang, missing)]


def stems(text: str) -> frozenset[str]:
    """The content words of a text, their common endings cut off; slots do not count."""
    words = re.findall(r"[a-z']+", re.sub(r"\{\w+\}", " ", text).lower())
    return frozenset(re.sub(r"(?:ies|ing|ed|es|er|s|e|y)\Z", "", word) if len(word) > 3 else word for word in words if word not in _STOP)


@functools.cache
def load(name: str) -> tuple[ToolCard, ...]:
    """The cards of ``cards/name.txt``. An unreadable line is an assertion: the file is ours."""
    cards: list[ToolCard] = []
    lines: list[list[str]] = []
    for line in (CARDS / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            head, _, families = line[2:].partition("|")
            own = frozenset([head.strip(), *families.split()])
            cards.append(ToolCard(id=head.strip(), families=own, origin=name))
            lines.append([])
        elif line and not line.startswith("#"):
            lines[-1].append(line)
    for card, own_lines in zip(cards, lines, strict=True):
        for line in own_lines:
            _read(card, *line.split(" ", 1))
        card.patterns = list(_patterns(card, own_lines))
    return tuple(cards)


def _read(card: ToolCard, code: str, text: str) -> None:
    if code == "n":
        card.names = tuple(text.split())
    elif code in ("a", "az", "s", "sz"):
        {"a": card.about, "az": card.about_zh, "s": card.says, "sz": card.says_zh}[code].append(text)
    elif code == "g":
        card.gloss, card.gloss_zh = (part.strip() for part in text.split("|"))
    elif code == "c":
        card.covers = frozenset(text.split())
    elif code in ("p", "p?"):
        head, names, label, label_zh = (part.strip() for part in text.split("|"))
        own, kind, pool = head.split()
        made = CardParameter(
            id=own, kind=kind, pool=pool, names=tuple(names.split()), label=label, label_zh=label_zh, required=code == "p"
        )  # fmt: skip
        card.parameters.append(made)
    else:
        assert _PATTERN.match(code), f"{card.id}: {code} {text}"


def _patterns(card: ToolCard, lines: list[str]) -> Iterator[Pattern]:
    known = {one.id for one in card.parameters}
    for line in lines:
        code, text = line.split(" ", 1)
        found = _PATTERN.match(code)
        if not found:
            continue
        missing = found[3] or ""
        slots = set(re.findall(r"\{(\w+)\}", text))
        needed = {one.id for one in card.parameters if one.required}
        assert slots <= known, f"{card.id}: {text}"
        assert missing in {"", *needed} and missing not in slots, f"{card.id}: {text}"
        assert missing or needed <= slots, f"{card.id}: {text}"
        lang = "zh" if found[2] else "en"
        yield Pattern(tool=card.id, text=text, split=SPLITS[found[1]], lang=lang, missing=missing)


def known() -> tuple[ToolCard, ...]:
    """The training tools that the cases of the half "known" ask for."""
    return tuple(card for name in KNOWN for card in load(name))


def further() -> tuple[ToolCard, ...]:
    """Training tools without cases: they only make the training half more varied."""
    return tuple(card for name in FURTHER for card in load(name))


def trained() -> tuple[ToolCard, ...]:
    """All tools of the training records."""
    return (*known(), *further())


def unseen(split: str) -> tuple[ToolCard, ...]:
    """The tools that only development (``dev``) or only the held-out half (``heldout``) has."""
    return load(f"unseen_{split}")
