"""The calendar: weekdays, differences, and dates that are not guessed."""

from __future__ import annotations

import datetime

import pytest

from agenttune.agent.toolbox import ToolError, load

(DATE,) = load("date")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"day": "2023-10-17"}, "2023-10-17 (Tuesday), day 290 of the year, week 42."),
        ({"day": "2024-12-31"}, "2024-12-31 (Tuesday), day 366 of the year, week 1."),
        ({"day": "2023年10月17日"}, "2023-10-17 (Tuesday), day 290 of the year, week 42."),
        ({"day": "17th of October 2023"}, "2023-10-17 (Tuesday), day 290 of the year, week 42."),
        ({"day": "Oct. 17, 2023"}, "2023-10-17 (Tuesday), day 290 of the year, week 42."),
        (
            {"day": "2023-10-17", "until": "2023-12-25"},
            "From 2023-10-17 (Tuesday) to 2023-12-25 (Monday): 69 days (9 weeks and 6 days).",
        ),
        ({"day": "2024-02-28", "until": "2024-03-01"}, "From 2024-02-28 (Wednesday) to 2024-03-01 (Friday): 2 days."),
        ({"day": "2024-03-01", "until": "2024-02-29"}, "From 2024-03-01 (Friday) to 2024-02-29 (Thursday): -1 day."),
        ({"day": "2024-03-08", "until": "2024-03-01"}, "From 2024-03-08 (Friday) to 2024-03-01 (Friday): -7 days (1 week)."),
        ({"day": "2023-10-17", "add_days": 100}, "100 days after 2023-10-17 (Tuesday): 2024-01-25 (Thursday)."),
        ({"day": "2023-10-17", "add_days": -1}, "1 day before 2023-10-17 (Tuesday): 2023-10-16 (Monday)."),
    ],
)
def test_what_it_tells(arguments: dict[str, object], says: str) -> None:
    assert DATE.call(arguments) == says


def test_today_is_this_machines_today() -> None:
    before = datetime.date.today().isoformat()
    told = DATE.call({})
    assert before in told or datetime.date.today().isoformat() in told
    assert DATE.call({"day": "昨天", "until": "tomorrow"}).endswith(": 2 days.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"day": "10/11/2023"}, "not read as a date; write it as 2023-10-17"),
        ({"day": "2023-02-30"}, "is no day of the calendar"),
        ({"day": "0000-01-01"}, "is no day of the calendar"),
        ({"day": "17 Fructidor 2023"}, "names no month"),
        ({"day": "next friday"}, "not read as a date"),
        ({"day": "9999-12-31", "add_days": 1}, "from year 1 to year 9999"),
        ({"day": "today", "add_days": 10**12}, "from year 1 to year 9999"),
        ({"day": "today", "until": "tomorrow", "add_days": 1}, "not both"),
    ],
)
def test_what_it_does_not_guess(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ToolError, match=says):
        DATE.call(arguments)
