"""Days of the calendar: today, weekdays, how far two days are apart, and the day so many days later."""

from __future__ import annotations

import datetime
import re
from typing import Annotated

from agenttune.agent.toolbox import POLLING, ToolError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NEAR = {"today": 0, "now": 0, "": 0, "tomorrow": 1, "yesterday": -1, "今天": 0, "明天": 1, "后天": 2, "昨天": -1, "前天": -2}
_NUMBERS = re.compile(r"(?P<year>\d{4})\s*(?:[-/.]|年)\s*(?P<month>\d{1,2})\s*(?:[-/.]|月)\s*(?P<day>\d{1,2})\s*[日号]?")
_DAY_FIRST = re.compile(r"(?P<day>\d{1,2})(?:st|nd|rd|th)?(?: of)?\.? (?P<name>[a-z]{3,9})\.?,? (?P<year>\d{4})")
_MONTH_FIRST = re.compile(r"(?P<name>[a-z]{3,9})\.? (?P<day>\d{1,2})(?:st|nd|rd|th)?,? (?P<year>\d{4})")


def date(day: str = "today", until: str = "", add_days: int = 0) -> Annotated[str, POLLING]:
    """Tells a day's date and weekday, and how many days lie between two days.

    Args:
        day: today, tomorrow, or a date such as 2023-10-17
        until: a second day, to count the days up to it
        add_days: days to go on from the day; negative goes back
    """
    start = _day(day)
    if not until:
        return _moved(start, add_days)
    if add_days:
        raise ToolError("give until or add_days, not both")
    end = _day(until)
    days = (end - start).days
    weeks, rest = divmod(abs(days), 7)
    parts = [_count(weeks, "week"), *([_count(rest, "day")] if rest else [])]
    in_weeks = f" ({' and '.join(parts)})" if weeks else ""
    return f"From {_named(start)} to {_named(end)}: {_count(days, 'day')}{in_weeks}."


def _moved(start: datetime.date, days: int) -> str:
    if not days:
        iso = start.isocalendar()
        return f"{_named(start)}, day {start.timetuple().tm_yday} of the year, week {iso.week}."
    try:
        end = start + datetime.timedelta(days=days)
    except OverflowError as error:
        raise ToolError("the calendar goes from year 1 to year 9999") from error
    return f"{_count(abs(days), 'day')} {'after' if days > 0 else 'before'} {_named(start)}: {_named(end)}."


def _named(day: datetime.date) -> str:
    return f"{day.isoformat()} ({_WEEKDAYS[day.weekday()]})"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if abs(number) == 1 else 's'}"


def _day(text: str) -> datetime.date:
    """The day a text names. A date of which only figures and a year at the end are written, such as 10/11/2023, has two readings."""
    plain = " ".join(text.lower().split())
    if plain in _NEAR:
        return datetime.date.today() + datetime.timedelta(days=_NEAR[plain])
    found = _NUMBERS.fullmatch(plain) or _DAY_FIRST.fullmatch(plain) or _MONTH_FIRST.fullmatch(plain)
    if found is None:
        raise ToolError(f'"{text[:60]}" is not read as a date; write it as 2023-10-17')
    parts = found.groupdict()
    month = int(parts["month"]) if "month" in parts else _month(parts["name"], text)
    try:
        return datetime.date(int(parts["year"]), month, int(parts["day"]))
    except ValueError as error:
        raise ToolError(f'"{text[:60]}" is no day of the calendar: {error}') from error


def _month(name: str, text: str) -> int:
    if name[:3] not in _MONTHS:
        raise ToolError(f'"{text[:60]}" names no month; write it as 2023-10-17')
    return _MONTHS.index(name[:3]) + 1
