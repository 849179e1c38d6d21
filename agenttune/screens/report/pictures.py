"""Bars as inline SVG, written here: no script, no style of its own, nothing fetched. Colours are the page's, by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agenttune.data.convert.sizes import Sizes, bucket, least_of
from agenttune.screens.inert import inert
from agenttune.screens.report.html import Html, element
from agenttune.screens.word_wrap import cells

_WIDTH, _HEIGHT = 640, 240
_LEFT, _BOTTOM, _TOP = 56, 30, 22
_BARS = 40  # of a histogram
_WIDEST = 48
_NAMES = 20
_ROW = 22
_LABEL = 25  # columns of a name
_LONGEST = 200  # characters of a name that are looked at, whatever their width
_TEXT = 214  # where bars of names begin


def histogram(sizes: Sizes, unit: str, of: str) -> Html:
    """How many `of` have how much of `unit`. Sizes of 32 and more are on a logarithmic axis."""
    if not sizes.count:
        return Html("")
    first, counts, step = _merged(sizes)
    top = max(counts)
    wide = (_WIDTH - _LEFT - 8) / len(counts)
    parts = list(_scale(top, of))
    for index, count in enumerate(counts):
        low, high = least_of(first + index * step), least_of(first + (index + 1) * step) - 1
        span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        if count:
            parts.append(_bar(_LEFT + index * wide, wide, count / top, f"{span} {unit}: {count:,} {of}"))
        if index % max(-(-len(counts) // 7), 1) == 0:
            parts.append(_text(_LEFT + (index + 0.5) * wide, _HEIGHT - 12, f"{low:,}", "middle"))
    parts.append(_text(_WIDTH - 8, 12, unit, "end"))
    return _svg(_HEIGHT, f"{of} by {unit}", parts)


def _merged(sizes: Sizes) -> tuple[int, list[int], int]:
    """The first bucket, the counts of bars from there on, and how many buckets a bar has: as few as still give no more than forty bars."""
    first, last = bucket(sizes.least), bucket(sizes.most)
    step = -(-(last - first + 1) // _BARS)
    first -= first % step
    counts = [0] * ((last - first) // step + 1)
    for number, count in sizes.buckets.items():
        counts[(number - first) // step] += count
    return first, counts, step


def _scale(top: int, of: str) -> Iterator[Html]:
    floor = _HEIGHT - _BOTTOM
    yield _text(4, 12, of, "start")
    for share in (0.5, 1.0) if top > 1 else (1.0,):
        y = floor - share * (floor - _TOP)
        count = top * share
        if count == int(count):
            yield element("line", class_="grid", x1=_LEFT, y1=f"{y:.1f}", x2=_WIDTH - 8, y2=f"{y:.1f}")
            yield _text(_LEFT - 6, y + 4, f"{int(count):,}", "end")
    yield element("line", class_="axis", x1=_LEFT, y1=floor, x2=_WIDTH - 8, y2=floor)


def _bar(x: float, wide: float, share: float, title: str) -> Html:
    floor = _HEIGHT - _BOTTOM
    high = max(share * (floor - _TOP), 1)
    full = max(min(0.8 * wide, _WIDEST), 0.5)
    size = {"x": f"{x + (wide - full) / 2:.1f}", "y": f"{floor - high:.1f}", "width": f"{full:.1f}", "height": f"{high:.1f}"}
    return element("rect", element("title", title), class_="bar", **size)


def names(counts: Mapping[str, int], what: str) -> Html:
    """A bar for each of the most frequent names, and a line that says how many more there are."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if not ranked:
        return Html("")
    top = ranked[0][1]
    parts = [part for row, (name, count) in enumerate(ranked[:_NAMES]) for part in _named(row, name, count, count / top)]
    rest = ranked[_NAMES:]
    if rest:
        more = f"and {len(rest):,} more names with {sum(count for _, count in rest):,}"
        parts.append(_text(_TEXT, _ROW * _NAMES + 15, more, "start"))
    return _svg(_ROW * (min(len(ranked), _NAMES) + bool(rest)) + 4, what, parts)


def _named(row: int, name: str, count: int, share: float) -> Sequence[Html]:
    y = row * _ROW
    wide = max(share * (_WIDTH - _TEXT - 80), 1)
    label = _text(_TEXT - 8, y + 15, _short(name), "end")
    title = element("title", f"{name}: {count:,}")
    bar = element("rect", title, class_="bar", x=_TEXT, y=y + 3, width=f"{wide:.1f}", height=_ROW - 6)
    return label, bar, _text(_TEXT + wide + 6, y + 15, f"{count:,}", "start")


def _short(name: str) -> str:
    """The name, or as much of it as the columns beside the bars hold."""
    name = " ".join(inert(name[:_LONGEST]).split())
    if cells(name) <= _LABEL:
        return name
    while name and cells(name) > _LABEL - 1:
        name = name[:-1]
    return f"{name}…"


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _svg(height: int, title: str, parts: Sequence[Html]) -> Html:
    return element("svg", element("title", title), *parts, viewBox=f"0 0 {_WIDTH} {height}", role="img")
