"""Tools for training: places, trade, works and words, out of tables of ours."""

from __future__ import annotations

import functools
import math
import re
import sqlite3
from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.tables import by_chinese, fixed, rows, table

_SIGNS = ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
_MORSE = {chr(97 + place): signs for place, signs in enumerate(_SIGNS.split(" "))}
_SKY = ("clear sky", "light rain", "heavy rain", "cloudy", "fog", "snow", "sunny", "windy", "thunderstorm")


def _row(name: str, key: str, what: str) -> tuple[str, ...]:
    found = table(name).get(key.strip().lower()) or by_chinese(name).get(key.strip())
    if found is None:
        raise ToolError(f'no {what} "{key}" in the table')
    return found


def _clock(minutes: float) -> str:
    return f"{int(minutes) // 60 % 24:02d}:{int(minutes) % 60:02d}"


def world_time(city: str) -> dict[str, Any]:
    """Local time when it is 12:15 in UTC."""
    return {"result": _clock(735 + 60 * float(_row("cities", city, "city")[1]))}


def time_shift(time: str, source: str, target: str) -> dict[str, Any]:
    """A time of one city in another."""
    found = re.fullmatch(r"(\d{1,2})(?::(\d{2}))? ?(am|pm)?", time.strip().lower())
    if not found:
        raise ToolError(f'"{time}" is no time of day')
    hour = int(found[1]) % 12 + 12 * (found[3] == "pm") if found[3] else int(found[1])
    shift = float(_row("cities", target, "city")[1]) - float(_row("cities", source, "city")[1])
    return {"result": _clock(hour * 60 + int(found[2] or 0) + 60 * shift)}


def _currency(name: str) -> tuple[str, ...]:
    for row in rows("currencies"):
        if name.strip().lower() in (row[0].lower(), row[1].lower(), row[3]):
            return row
    raise ToolError(f'unknown currency "{name}"')


def currency(amount: float, source: str, target: str) -> dict[str, Any]:
    """Money in another currency."""
    return {"result": round(amount / float(_currency(source)[2]) * float(_currency(target)[2]), 2)}


def weather(city: str, day: str = "today") -> str:
    """Weather out of a fixed table."""
    name = _row("cities", city, "city")[0]
    return f"{_SKY[fixed(name + day, len(_SKY))]}, {fixed(day + name, 30) - 2} degrees"


def distance(first: str, second: str) -> dict[str, Any]:
    """Great-circle distance in km."""
    (lat1, lon1), (lat2, lon2) = ((math.radians(float(v)) for v in _row("cities", city, "city")[2:4]) for city in (first, second))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return {"result": round(12742 * math.asin(math.sqrt(half)))}


def population(country: str) -> str:
    """Inhabitants of a country."""
    return f"{_row('countries', country, 'country')[1]} million"


def exchange_holiday(country: str) -> str:
    """Some public holidays."""
    return _row("countries", country, "country")[2]


def train_times(origin: str, destination: str) -> list[str]:
    """Departures out of a fixed table."""
    _row("cities", origin, "city"), _row("cities", destination, "city")
    start = 320 + fixed(origin + destination, 150)
    return [_clock(start + step * (95 + fixed(destination, 60))) for step in range(3)]


def flight_status(flight: str) -> str:
    """State of a flight out of a fixed table."""
    if not re.fullmatch(r"[A-Z]{2}\d{2,4}", flight.replace(" ", "")):
        raise ToolError(f'"{flight}" is no flight number')
    late = fixed(flight, 4) * 15
    gate = f"gate {'ABCD'[fixed(flight, 4)]}{1 + fixed(flight, 30)}"
    return f"{'on time' if not late else f'{late} minutes late'}, {gate}"


def stock_price(symbol: str) -> str:
    """Price of a share out of a fixed table."""
    return f"{10 + fixed(symbol, 40000) / 100:.2f} USD"


def recipe(dish: str) -> str:
    """Ingredients of a dish."""
    return _row("recipes", dish, "recipe")[1]


def song_info(title: str) -> str:
    """Artist and year of a song."""
    row = _row("songs", title, "song")
    return f"{row[1]}, {row[2]}"


def movie_info(title: str) -> str:
    """Director and year of a film."""
    row = _row("movies", title, "film")
    return f"{row[1]}, {row[2]}"


@functools.cache
def _index() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("CREATE VIRTUAL TABLE entry USING fts5(title, article, tokenize='porter unicode61')")
    connection.executemany("INSERT INTO entry VALUES (?, ?)", [row[:2] for row in rows("encyclopaedia")])
    return connection


def encyclopaedia(query: str) -> str:
    """The best article of a full text search."""
    words = re.findall(r"\w+", query)
    match = " OR ".join([f'"{word}"' for word in words] + [f'"{word[:-2]}"*' for word in words if len(word) > 6])
    order = "ORDER BY lower(title) = lower(?) DESC, bm25(entry, 10, 1), title LIMIT 1"
    found = _index().execute(f"SELECT title, article FROM entry WHERE entry MATCH ? {order}", (match or '""', query)).fetchone()
    if found is None:
        raise ToolError(f'no article about "{query}"')
    return f"{found[0]}: {found[1]}"


def define(word: str) -> str:
    """Meaning of a word."""
    return _row("words", word, "word")[1]


def synonyms(word: str) -> str:
    """Words of similar meaning."""
    return _row("synonyms", word, "word")[1]


def translate(word: str, language: str) -> str:
    """A word in another language."""
    languages = ("spanish", "french", "german", "italian", "portuguese", "dutch")
    if language.lower() not in languages:
        raise ToolError(f"no table for {language}")
    return _row("translations", word, "word")[1 + languages.index(language.lower())]


def word_count(text: str) -> dict[str, Any]:
    """Number of words."""
    return {"result": len(text.split())}


def reverse_text(text: str) -> str:
    """Letters from the end."""
    return text[::-1]


def change_case(text: str, style: str) -> str:
    """Another letter case."""
    made = {"upper": text.upper(), "lower": text.lower(), "title": text.title()}.get(style.lower().removesuffix(" case"))
    if made is None:
        raise ToolError(f'unknown case "{style}"')
    return made


def morse(text: str) -> str:
    """Morse code."""
    return " ".join(_MORSE.get(letter, "/") for letter in text.lower())


def password_check(password: str) -> str:
    """How strong a password is."""
    kinds = sum(bool(re.search(kind, password)) for kind in ("[a-z]", "[A-Z]", r"\d", r"[^\w]"))
    return ("weak", "weak", "fair", "good", "strong")[min(kinds, 4) if len(password) > 9 else min(kinds, 2)]


def colour_hex(colour: str) -> str:
    """Web code of a colour."""
    return _row("colours", colour, "colour")[1]


def list_sort(items: str) -> str:
    """Items apart by commas, in order."""
    return ", ".join(sorted((part.strip() for part in items.split(",")), key=str.lower))
