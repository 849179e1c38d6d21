"""Arithmetic by an allow-list over Python's syntax tree: exact fractions as far as a value has one, no names but those below."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated, Any

from agenttune.agent.toolbox import READ_ONLY, Compare, ToolError

Number = Fraction | float

LENGTH = 1000  # characters of an expression
_CONTEXT = Context(prec=15)
BITS = 4000  # of a numerator or denominator, about 1,200 digits
_TYPED = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "，": ",", "（": "(", "）": ")", "＋": "+", "＝": "="})


def calculator(expression: Annotated[str, Compare("expression")]) -> Annotated[str, READ_ONLY]:
    """Evaluates an arithmetic expression exactly.

    Args:
        expression: in figures and signs, such as 15% of 80
    """
    source = _python(expression)
    try:
        tree = ast.parse(source, mode="eval")
        return _shown(_value(tree.body, source))
    except SyntaxError as error:
        raise ToolError(_syntax(expression)) from error
    except ZeroDivisionError as error:
        raise ToolError("division by zero") from error
    except (RecursionError, MemoryError) as error:
        raise ToolError("the expression is nested too deeply") from error
    except OverflowError as error:
        raise ToolError("the result is too large") from error
    except ValueError as error:
        raise ToolError(f"no real number: {error}") from error


def _python(expression: str) -> str:
    """What people type, in Python's signs: ``^`` is a power; ``%`` is a percentage unless a number, name or parenthesis follows it."""
    if len(expression) > LENGTH:
        raise ToolError(f"the expression is longer than {LENGTH} characters")
    text = " ".join(expression.translate(_TYPED).split()).rstrip("=? ").replace("^", "**")
    text = re.sub(r"%\s*of\b", "/100*", text)
    return re.sub(r"%(?=\s*($|[-+*/),]))", "/100", text)


def _syntax(expression: str) -> str:
    if re.search(r"\d,\d{3}", expression):
        return "the expression cannot be read; write numbers without thousands commas"
    return "the expression cannot be read; write e.g. (3 + 4) * 2"


def _value(node: ast.expr, source: str) -> Number:
    if isinstance(node, ast.Constant):
        return _constant(node, source)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand, source)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _bounded(_OPERATORS[type(node.op)](_value(node.left, source), _value(node.right, source)))
    if isinstance(node, ast.Call):
        return _call(node, source)
    raise ToolError(_refusal(node))


def _refusal(node: ast.expr, called: bool = False) -> str:
    if called and isinstance(node, ast.Constant | ast.BinOp | ast.UnaryOp | ast.Call):
        return "a parenthesis right after a number or another one is no product; write 2*(3)"
    if isinstance(node, ast.Name):
        return f'there is no "{node.id}"; known: {", ".join([*_CONSTANTS, *_FUNCTIONS])}'
    if isinstance(node, ast.Tuple):
        return "a comma belongs between a function's arguments only; write numbers without thousands commas"
    if isinstance(node, ast.Compare):
        return "comparisons are not arithmetic; give one side"
    return "only numbers, + - * / // % ^, parentheses and functions are understood"


def _constant(node: ast.Constant, source: str) -> Number:
    if type(node.value) not in (int, float):
        raise ToolError(_refusal(node))
    text = ast.get_source_segment(source, node) or ""
    exponent = re.search(r"e([+-]?\d+)$", text, re.IGNORECASE)
    if exponent and not text.lower().startswith("0x") and abs(int(exponent.group(1))) > 400:
        raise OverflowError
    return _bounded(Fraction(node.value) if type(node.value) is int else Fraction(text.replace("_", "")))


def _call(node: ast.Call, source: str) -> Number:
    known = _FUNCTIONS.get(node.func.id) if isinstance(node.func, ast.Name) else None
    if known is None or not isinstance(node.func, ast.Name):
        raise ToolError(_refusal(node.func, called=True))
    least, most, function = known
    if node.keywords or any(isinstance(one, ast.Starred) for one in node.args) or not least <= len(node.args) <= most:
        raise ToolError(f"{node.func.id} takes {least if least == most else f'{least} to {most}'} argument{'s' if most > 1 else ''}")
    return _bounded(function(*[_value(one, source) for one in node.args]))


def _bounded(value: Any) -> Number:
    if isinstance(value, complex) or (isinstance(value, float) and math.isnan(value)):
        raise ValueError("the result is not one")
    if isinstance(value, float):
        if math.isinf(value):
            raise OverflowError
        return value
    exact = Fraction(value)
    if max(exact.numerator.bit_length(), exact.denominator.bit_length()) > BITS:
        raise OverflowError
    return exact


def _power(base: Number, exponent: Number) -> Any:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size > 1 and size * abs(exponent.numerator) > 2 * BITS:  # refused before it is computed
            raise OverflowError
        return base**exponent.numerator if abs(base) != 1 else Fraction(int(base) ** (exponent.numerator % 2))
    if exponent == Fraction(1, 2):
        return _root(base)
    return float(base) ** float(exponent)


def _root(value: Number) -> Number:
    if value < 0:
        raise ValueError("the square root of a negative number")
    if isinstance(value, Fraction):
        root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
        if root * root == value:
            return root
    return math.sqrt(value)


def _round(value: Number, digits: Number = Fraction(0)) -> Fraction:
    """Halves go away from zero, as on paper."""
    places = _whole(digits)
    if abs(places) > 300:
        raise OverflowError
    scaled = Fraction(value) * Fraction(10) ** places
    whole = math.floor(abs(scaled) + Fraction(1, 2))
    return Fraction(whole if scaled >= 0 else -whole) / Fraction(10) ** places


def _whole(value: Number) -> int:
    if value != int(value):
        raise ToolError("a whole number is needed there")
    return int(value)


def _percent(rate: Number, whole: Number = Fraction(1)) -> Number:
    """So many percent of a whole, as in ``percent(15, 80)``."""
    return rate * whole / 100


def _factorial(value: Number) -> int:
    if value > 500:
        raise OverflowError
    return math.factorial(_whole(value))


def _log(value: Number, base: Number | None = None) -> float:
    if base is None:
        return math.log(value)
    return math.log10(value) if base == 10 else math.log2(value) if base == 2 else math.log(value) / math.log(base)


def _by_float(function: Callable[[float], float]) -> Callable[[Number], float]:
    return lambda value: function(float(value))


def _by_angle(function: Callable[[float], float]) -> Callable[[Number], float]:
    """Zeros as zeros: pi is rounded, so its sine is 1e-16."""
    return lambda value: 0.0 if abs(function(float(value))) < 1e-15 else function(float(value))


def _by_whole(function: Callable[[int, int], int]) -> Callable[[Number, Number], int]:
    return lambda first, second: function(_whole(first), _whole(second))


_CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e, "π": math.pi}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "sqrt": (1, 1, _root),
    "round": (1, 2, _round),
    "abs": (1, 1, abs),
    "min": (1, 50, lambda *values: min(values)),
    "max": (1, 50, lambda *values: max(values)),
    "sum": (1, 50, lambda *values: sum(values)),
    "mean": (1, 50, lambda *values: sum(values) / len(values)),
    "percent": (1, 2, _percent),
    "floor": (1, 1, math.floor),
    "ceil": (1, 1, math.ceil),
    "pow": (2, 2, _power),
    "factorial": (1, 1, _factorial),
    "gcd": (2, 2, _by_whole(math.gcd)),
    "lcm": (2, 2, _by_whole(math.lcm)),
    "log": (1, 2, _log),
    "ln": (1, 1, math.log),
    "log10": (1, 1, math.log10),
    "log2": (1, 1, math.log2),
    "exp": (1, 1, _by_float(math.exp)),
    "sin": (1, 1, _by_angle(math.sin)),
    "cos": (1, 1, _by_angle(math.cos)),
    "tan": (1, 1, _by_angle(math.tan)),
    "asin": (1, 1, _by_float(math.asin)),
    "acos": (1, 1, _by_float(math.acos)),
    "atan": (1, 1, _by_float(math.atan)),
    "degrees": (1, 1, _by_float(math.degrees)),
    "radians": (1, 1, _by_float(math.radians)),
}


def _shown(value: Number) -> str:
    """A whole number or a decimal that ends, exactly; anything else to 15 significant digits."""
    if isinstance(value, float):
        return _digits(Decimal(value))
    if value.denominator == 1:
        return str(value.numerator)
    places = _places(value.denominator)
    if places is None or places > 40:
        return _digits(_CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator)))
    scaled = abs(value.numerator) * 10**places // value.denominator
    whole, part = divmod(scaled, 10**places)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{places}d}"


def _digits(value: Decimal) -> str:
    """At most 15 significant digits; in powers of ten where that is shorter."""
    rounded = _CONTEXT.plus(value).normalize(_CONTEXT)
    if rounded == 0:
        return "0"
    return f"{rounded:f}" if -7 < rounded.adjusted() < 15 else f"{rounded:e}".replace("e+", "e")


def _places(denominator: int) -> int | None:
    """Decimals after which 1/denominator ends; None where it never does."""
    twos = (denominator & -denominator).bit_length() - 1
    fives, rest = 0, denominator >> twos
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None
