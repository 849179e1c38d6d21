"""Tools for training: numbers and dates. Each is a plain typed function; a wrong input is a `ToolError` in words."""

from __future__ import annotations

import ast
import datetime as dt
import math
import operator
import re
from typing import Any

from agenttune.agent.toolbox.answers import ToolError

TODAY = dt.date(2025, 3, 10)
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Mod: operator.mod,
    ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_METRES = {
    "miles": 1609.344, "kilometres": 1000, "feet": 0.3048, "metres": 1, "inches": 0.0254, "centimetres": 0.01, "yards": 0.9144,
    "nautical miles": 1852,
}  # fmt: skip
_GRAMS = {"pounds": 453.592, "kilograms": 1000, "ounces": 28.3495, "grams": 1, "stones": 6350.29}
_LITRES = {"litres": 1, "gallons": 3.78541, "pints": 0.473176, "cups": 0.236588, "millilitres": 0.001}
_SQUARE = {"acres": 0.404686, "hectares": 1}
_CHINESE = {
    "英里": "miles", "公里": "kilometres", "英尺": "feet", "米": "metres", "磅": "pounds", "千克": "kilograms", "升": "litres",
    "加仑": "gallons", "英寸": "inches", "厘米": "centimetres", "盎司": "ounces", "克": "grams",
}  # fmt: skip
_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"),
    (4, "IV"), (1, "I"),
)  # fmt: skip
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def short(value: float) -> float | int:
    """At most four digits after the point, and none where they are zeros."""
    made = round(float(value), 4)
    return int(made) if made.is_integer() else made


def read_date(text: str) -> dt.date:
    """``2024-03-15``, ``15 March 2024``, ``March 15, 2024`` or ``2024年3月15日``. Raises `ToolError`."""
    try:
        if found := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})|(\d{4})年(\d{1,2})月(\d{1,2})日", text.strip()):
            return dt.date(*(int(part) for part in found.groups() if part))
        if found := re.fullmatch(r"(\d{1,2}) ([A-Z][a-z]+) (\d{4})", text.strip()):
            return dt.date(int(found[3]), _MONTHS.index(found[2]) + 1, int(found[1]))
        if found := re.fullmatch(r"([A-Z][a-z]+) (\d{1,2}), (\d{4})", text.strip()):
            return dt.date(int(found[3]), _MONTHS.index(found[1]) + 1, int(found[2]))
    except ValueError:
        pass  # a day or a month that does not exist is answered like any other unreadable date
    raise ToolError(f'"{text}" is not a date; write it as YYYY-MM-DD')


def written_date(day: dt.date, style: int) -> str:
    """A date as people write it: style 0 ``2024-03-15``, 1 ``15 March 2024``, 2 ``March 15, 2024``, 3 ``2024年3月15日``."""
    month = _MONTHS[day.month - 1]
    return (day.isoformat(), f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}", f"{day.year}年{day.month}月{day.day}日")[
        style
    ]


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand))
    raise ToolError("only numbers, + - * / % and brackets are allowed")


def calculator(expression: str) -> dict[str, Any]:
    """Work out a sum."""
    try:
        return {"result": short(_value(ast.parse(expression.strip(), mode="eval").body))}
    except (SyntaxError, ZeroDivisionError, OverflowError) as error:
        raise ToolError(f'cannot work out "{expression}": {type(error).__name__}') from error


def units(value: float, source: str, target: str) -> dict[str, Any]:
    """Convert a measurement."""
    for known in (_METRES, _GRAMS, _LITRES, _SQUARE):
        one, other = (_CHINESE.get(unit, unit.lower()) for unit in (source, target))
        if one in known and other in known:
            return {"result": short(value * known[one] / known[other]), "unit": target}
    raise ToolError(f"cannot convert {source} to {target}")


def temperature(value: float, source: str, target: str) -> dict[str, Any]:
    """Convert degrees."""
    celsius = {"celsius": value, "fahrenheit": (value - 32) / 1.8, "kelvin": value - 273.15}.get(source.lower())
    if celsius is None:
        raise ToolError(f"unknown scale {source}")
    made = {"celsius": celsius, "fahrenheit": celsius * 1.8 + 32, "kelvin": celsius + 273.15}.get(target.lower())
    if made is None:
        raise ToolError(f"unknown scale {target}")
    return {"result": round(made, 1)}


def prime_check(number: int) -> str:
    """Whether a number is prime."""
    for divisor in range(2, math.isqrt(max(number, 0)) + 1):
        if number % divisor == 0:
            return f"{number} is not prime, it is divisible by {divisor}"
    return f"{number} is prime" if number > 1 else f"{number} is not prime"


def gcd(first: int, second: int) -> dict[str, Any]:
    """Greatest common divisor."""
    return {"result": math.gcd(first, second)}


def roman(number: int) -> str:
    """A Roman numeral."""
    if not 0 < number < 4000:
        raise ToolError("only 1 to 3999 can be written")
    made = ""
    for value, letters in _ROMAN:
        made += letters * (number // value)
        number %= value
    return made


def base_convert(number: int, base: int) -> dict[str, Any]:
    """A number in another base."""
    if not 2 <= base <= 36:
        raise ToolError("the base must be from 2 to 36")
    digits = ""
    rest = abs(number)
    while rest or not digits:
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest % base] + digits
        rest //= base
    return {"result": f"-{digits}" if number < 0 else digits}


def bmi(weight: float, height: float) -> dict[str, Any]:
    """Body mass index of kilograms and centimetres."""
    value = round(weight / (height / 100) ** 2, 1)
    return {"result": value, "rated": "low" if value < 18.5 else "healthy" if value < 25 else "high"}


def tip_split(bill: float, percent: float, people: int) -> dict[str, Any]:
    """Shares of a bill with a tip."""
    if people < 1:
        raise ToolError("at least one person must pay")
    return {"result": round(bill * (1 + percent / 100) / people, 2)}


def loan_payment(principal: float, rate: float, years: int) -> dict[str, Any]:
    """Monthly payment of an annuity loan."""
    monthly, count = rate / 1200, years * 12
    return {"result": round(principal * monthly / (1 - (1 + monthly) ** -count) if monthly else principal / count, 2)}


def sales_tax(amount: float, rate: float) -> dict[str, Any]:
    """A price with tax."""
    return {"result": round(amount * (1 + rate / 100), 2), "tax": round(amount * rate / 100, 2)}


def average(numbers: str) -> dict[str, Any]:
    """Mean of numbers apart by commas."""
    try:
        values = [float(part) for part in numbers.replace(";", ",").split(",")]
    except ValueError as error:
        raise ToolError("write the numbers apart by commas") from error
    return {"result": short(round(sum(values) / len(values), 2))}


def percent_change(old: float, new: float) -> dict[str, Any]:
    """Relative change."""
    if old == 0:
        raise ToolError("the old value must not be 0")
    return {"result": f"{round((new - old) / old * 100, 1):+} %"}


def date_add(date: str, days: int) -> dict[str, Any]:
    """A date some days later."""
    return {"result": (read_date(date) + dt.timedelta(days=days)).isoformat()}


def days_between(start: str, end: str) -> dict[str, Any]:
    """Days from one date to another."""
    return {"result": abs((read_date(end) - read_date(start)).days)}


def weekday(date: str) -> dict[str, Any]:
    """Weekday of a date."""
    return {"result": _DAYS[read_date(date).weekday()]}


def leap_year(year: int) -> str:
    """Whether a year is a leap year."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return f"{year} is {'' if leap else 'not '}a leap year"


def age(born: str, on: str = "") -> dict[str, Any]:
    """Age in years."""
    birth, now = read_date(born), read_date(on) if on else TODAY
    return {"result": now.year - birth.year - ((now.month, now.day) < (birth.month, birth.day))}


def countdown(date: str) -> dict[str, Any]:
    """Days until a date."""
    days = (read_date(date) - TODAY).days
    if days < 0:
        raise ToolError(f"{date} is over")
    return {"result": days}
