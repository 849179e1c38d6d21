"""Made-up articles: invented names in the form that the shipped articles have, and what can be asked about each."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agenttune.agent.toolbox.articles.index import Article, build_index, search_index
from agenttune.files import shipped

FOLDER = shipped("evals") / "desk" / "live" / "train"
_SLOT = re.compile(r"\{(\w+)\}")
_STARTS = (
    "Al", "Bar", "Bel", "Bren", "Cal", "Cor", "Dal", "Der", "El", "Fal", "Fen", "Gal", "Gor", "Hal", "Hes", "Il", "Jor", "Kal",
    "Kes", "Lan", "Lor", "Mar", "Mel", "Mor", "Nar", "Nel", "Or", "Os", "Pal", "Per", "Quil", "Ran", "Ros", "Sal", "Ser", "Tal",
    "Ter", "Tor", "Ul", "Val", "Ver", "Vor", "Wen", "Yar", "Zel", "Zor", "Tran", "Ston", "Plem", "Druv",
)  # fmt: skip
_MIDDLES = (
    "a", "e", "i", "o", "u", "an", "en", "or", "ar", "il", "", "", "ta", "ve", "mi", "do", "ri", "ba", "ke", "lu",
)  # fmt: skip
_ENDS = (
    "dor", "mir", "ven", "sk", "nia", "ra", "lund", "to", "nes", "vik", "ta", "mond", "ria", "gar", "lo", "ston", "fell", "wick",
    "dal", "na", "x", "mar", "tine", "bo", "ska", "rell", "via", "heim", "sund", "zan",
)  # fmt: skip
_FIRST = (
    "Anselm", "Berta", "Clemens", "Dora", "Emil", "Freya", "Gustav", "Hilda", "Ivar", "Jutta", "Konrad", "Lena", "Magnus", "Nora",
    "Oskar", "Petra", "Ruben", "Selma", "Tobias", "Ursula", "Viktor", "Wilma", "Yara", "Zeno", "Amir", "Bianca", "Cyrus", "Delia",
    "Edgar", "Fatima",
)  # fmt: skip
_HAN = "安白碧川丹东峰风谷桂海河和红湖华金兰乐林龙落明木南宁平青清泉仁山石松天文武溪霞香新星秀雅阳银玉月云竹子梅雪沙潮岩"
_SURNAMES = "赵钱孙周吴郑王冯陈卫蒋沈韩杨朱秦许何吕张"
_COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_MONTHS = ("January", "March", "April", "May", "July", "August", "October", "December")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing an article answers. `value` stands in `sentence`; `number` is its figure; `titled`: the question names the title."""

    value: str
    number: str
    kind: str
    title: str
    sentence: str
    answer: str
    query: str
    questions: tuple[str, ...]
    phrases: tuple[str, ...]
    titled: bool

    @property
    def quoted(self) -> str:
        """The sentence under its article's title."""
        return f"{self.title}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """An article and its questions."""

    family: str
    article: Article
    title: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The lines of one family by their code."""

    name: str
    lines: Mapping[str, tuple[str, ...]]


@functools.cache
def families(name: str) -> tuple[Family, ...]:
    """The families of ``articles.txt`` or ``chinese.txt``; lines before the first family or of a blank-separated rest are left out."""
    found: list[tuple[str, dict[str, list[str]]]] = []
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            found.append((line[2:], {}))
        elif found and line and not line.startswith("#"):
            code, text = line.split(" ", 1)
            found[-1][1].setdefault(code, []).append(text)
    return tuple(Family(name=own, lines={code: tuple(texts) for code, texts in lines.items()}) for own, lines in found)


def lines(name: str, code: str) -> tuple[str, ...]:
    """The lines of ``name.txt`` with a code, in whatever family; without a code all of them."""
    rows = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    rows = [row for row in rows if row and not row.startswith(("#", "= "))]
    return tuple(rows) if not code else tuple(row[len(code) + 1 :] for row in rows if row.startswith(f"{code} "))


def invented(rng: random.Random, chinese: bool = False) -> str:
    """A name that no place has, as far as we know."""
    if chinese:
        return "".join(rng.sample(_HAN, rng.choice((2, 2, 3))))
    return rng.choice(_STARTS) + rng.choice(_MIDDLES) + rng.choice(_ENDS)


def person(rng: random.Random, chinese: bool = False) -> str:
    """A first and a last name."""
    if chinese:
        return rng.choice(_SURNAMES) + "".join(rng.sample(_HAN, rng.choice((1, 2))))
    return f"{rng.choice(_FIRST)} {invented(rng)}"


def _value(rng: random.Random, kind: str, known: Mapping[str, str], chinese: bool) -> str:
    name, _, rest = kind.partition(" ")
    makers: dict[str, Callable[[], str]] = {
        "name": lambda: invented(rng, chinese),
        "person": lambda: person(rng, chinese),
        "word": lambda: rng.choice(rest.split("/")),
        "number_word": lambda: rng.choice(_COUNTS),
        "symbol": lambda: rng.choice("ABCDEGHKLMNPRSTUVXYZ") + rng.choice("abdeghiklmnoprstux"),
        "y": lambda: str(rng.randint(*_span(rest))),
        "later": lambda: str(int(known["Y"]) + rng.randint(*_span(rest))),
        "y2": lambda: str(int(known["Y"]) + rng.randint(*_span(rest))),
        "n": lambda: f"{rng.randint(*_span(rest)):,}" if not chinese else str(rng.randint(*_span(rest))),
    }
    return makers[name]()


def _span(text: str) -> tuple[int, int]:
    low, high = text.split("-")
    return int(low), int(high)


def topic(rng: random.Random, family: Family, chinese: bool = False) -> Topic:
    """One article of a family, with the questions that its text answers."""
    values: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for part in family.lines["v"][0].split(" ; "):
        slot, kind = part.split("=", 1)
        values[slot], kinds[slot] = _value(rng, kind, values, chinese), kind
    values["t"] = rng.choice(family.lines["t"][0].split(" / ")).format(**values)
    values["day"] = f"{rng.randint(1, 28)} {rng.choice(_MONTHS)}"
    pattern = rng.choice(family.lines["a"])
    text = _surrounded(rng, pattern, chinese).format(**values)
    shown = {*_SLOT.findall(pattern), *_SLOT.findall(family.lines["t"][0])}
    sentences = re.split(r"(?<=[.!?])\s+|(?<=[。！？])", text)
    found = []
    for code in ("q", "o"):
        for line in family.lines.get(code, ()):
            slot, answer, query, *asked = line.split(" | ")
            if {slot, *_SLOT.findall(answer)} <= shown | {"t"}:
                found.append(_question(slot, answer, query, asked, values, kinds, sentences, code))
    title = values["t"]
    return Topic(family=family.name, article=Article(title=title, text=text), title=title, questions=tuple(found))


def _surrounded(rng: random.Random, pattern: str, chinese: bool) -> str:
    """Often a first sentence that answers nothing, and sometimes a last one: what is asked is seldom said at once."""
    if rng.random() < 0.6:
        pattern = rng.choice(lines("intros", "z" if chinese else "e")) + ("" if chinese else " ") + pattern
    if rng.random() < 0.25 and not chinese:
        pattern += " " + rng.choice(lines("intros", "l"))
    return pattern


def _question(
    slot: str,
    answer: str,
    query: str,
    asked: Sequence[str],
    values: Mapping[str, str],
    kinds: Mapping[str, str],
    sentences: Sequence[str],
    code: str,
) -> Question:
    sought = _SLOT.findall(query)
    value = values[slot if code == "q" else "D" if "D" in sought else sought[0]]
    kind = kinds.get(slot, "name").partition(" ")[0]
    told = asked[0].split(" / ")
    phrases = asked[1].split(" / ") if len(asked) > 1 else []
    return Question(
        value=value,
        number=value.replace(",", "") if kind in ("n", "y", "later", "y2") else "",
        kind=kind,
        title=values["t"],
        sentence=next((one for one in sentences if value in one), sentences[0]).strip(),
        answer=answer.format(**values),
        query=query.format(**values),
        questions=tuple(one.format(**values) for one in told),
        phrases=tuple(one.format(**values) for one in phrases),
        titled=code == "q",
    )


class World:
    """Some forty articles and the tool that searches them, as the shipped one prints."""

    def __init__(self, rng: random.Random, path: Path, english: int, chinese: int) -> None:
        self.topics: list[Topic] = []
        self.path = path
        names: set[str] = set()
        sayings: set[str] = set()
        wanted = [("articles", False)] * english + [("chinese", True)] * chinese
        for number, (file, zh) in enumerate(wanted):
            own = families(file)
            made = topic(rng, own[number % len(own)], zh)
            made = replace(made, questions=tuple(one for one in made.questions if one.titled or one.query not in sayings))
            if made.title in names:
                continue
            names.add(made.title)
            sayings.update(one.query for one in made.questions if not one.titled)
            self.topics.append(made)
        build_index([one.article for one in self.topics], path)

    def search(self, query: str) -> str:
        """The best articles, numbered, in the shipped tool's form."""
        found = search_index(self.path, query)
        return "\n".join(f"{rank}. {one.title}: {one.text}" for rank, one in enumerate(found, 1)) or "No article was found."
