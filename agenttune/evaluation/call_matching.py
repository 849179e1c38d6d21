"""Calls that were made against calls that are wanted: one against one, and several against several, each used once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agenttune.data.quality.schema_check import types_of
from agenttune.evaluation.value_matching import exact, matches, of_other_type
from agenttune.values.case import ExpectedCall
from agenttune.values.trajectory import Json, ToolCall, ToolSpec

# Of the arguments of a call whose tool is right, best first: against several accepted calls the best one counts.
DIFFERENCES = ("ok", "wrong_value", "wrong_type", "extra_argument", "missing_argument")


def difference(
    call: ToolCall, wanted: ExpectedCall, compare: Mapping[str, str], tool: ToolSpec | None = None, *, strict: bool = False
) -> str:
    """How the arguments of a call to the right tool differ: one of `DIFFERENCES`, the last that applies.

    An optional argument that says the schema's default, or null where the schema allows null, says nothing: it may stand or be
    left out. Under `strict` that liberty is not taken.
    """
    silent: Callable[[str, Json], bool] = (lambda name, value: False) if strict else (lambda name, value: _says_nothing(value, name, tool))
    seen = {name: value for name, value in call.arguments.items() if not silent(name, value)}
    needed = {
        name
        for name, values in wanted.arguments.items()
        if name not in wanted.optional and not any(silent(name, value) for value in values)
    }
    if needed - seen.keys():
        return "missing_argument"
    if seen.keys() - wanted.arguments.keys():
        return "extra_argument"
    found = {_argument_difference(name, value, wanted, compare, tool) for name, value in seen.items()}
    return max(found, key=DIFFERENCES.index, default="ok")


def _argument_difference(name: str, seen: Json, wanted: ExpectedCall, compare: Mapping[str, str], tool: ToolSpec | None) -> str:
    accepted, how, schema = wanted.arguments[name], compare.get(name, "exact"), _schema(tool, name)
    if any(matches(seen, one, how, schema) for one in accepted):
        return "ok"
    return "wrong_type" if all(of_other_type(seen, one, schema) for one in accepted) else "wrong_value"


def _schema(tool: ToolSpec | None, name: str) -> Json:
    schemas = tool.parameters.get("properties") if tool else None
    return schemas.get(name) if isinstance(schemas, Mapping) else None


def _says_nothing(value: Json, name: str, tool: ToolSpec | None) -> bool:
    schema = _schema(tool, name)
    required = tool.parameters.get("required") if tool else None
    if not isinstance(schema, Mapping) or (isinstance(required, list) and name in required):
        return False
    if value is None:
        return "null" in types_of(schema) or schema.get("nullable") is True
    return "default" in schema and exact(value, schema["default"], schema)


def argument_f1(call: ToolCall, wanted: ExpectedCall, compare: Mapping[str, str], tool: ToolSpec | None = None) -> float:
    """F1 of the arguments of one call, a right name with a wrong value counting half; 0 where the tool is another.

    ModelScope-Agent's (Li et al. 2023, arXiv 2309.00986): with HM names that alone are right and FM whole ones, recall is
    (HM / 2 + FM) / wanted, precision the same over made, F1 their harmonic mean; 1 where neither has an argument.
    """
    if call.name != wanted.name:
        return 0.0
    expected = {name for name in wanted.arguments if name not in wanted.optional or name in call.arguments}
    if not expected and not call.arguments:
        return 1.0
    hits = 0.0
    for name in expected & call.arguments.keys():
        right = _argument_difference(name, call.arguments[name], wanted, compare, tool) == "ok"
        hits += 1.0 if right else 0.5
    return 2 * hits / (len(expected) + len(call.arguments))


def best_matching(weights: Sequence[Sequence[float]]) -> float:
    """The greatest sum of weights ≥ 0 in which every row and every column is used at most once.

    The Hungarian method with potentials (Kuhn 1955; Munkres 1957), in O(rows² · columns); with weights of 0 and 1 it is the size of
    a maximum bipartite matching.
    """
    rows = [list(row) for row in weights]
    if not rows or not rows[0]:
        return 0.0
    if len(rows) > len(rows[0]):
        rows = [list(column) for column in zip(*rows, strict=True)]
    owner = _assigned([[-weight for weight in row] for row in rows])
    return sum(rows[row][column] for column, row in owner.items())


def _assigned(costs: Sequence[Sequence[float]]) -> dict[int, int]:
    """Column → row of a cheapest assignment of every row; there are no more rows than columns."""
    rows, columns = len(costs), len(costs[0])
    row_potential, column_potential = [0.0] * (rows + 1), [0.0] * (columns + 1)
    owner = [rows] * (columns + 1)  # of a column; `rows` is nobody, and column `columns` stands for the row to be placed
    for row in range(rows):
        owner[columns] = row
        at = columns
        least, before, used = [float("inf")] * columns, [columns] * columns, [False] * (columns + 1)
        while owner[at] != rows:
            used[at] = True
            here = owner[at]
            for column in range(columns):
                if not used[column]:
                    slack = costs[here][column] - row_potential[here] - column_potential[column]
                    if slack < least[column]:
                        least[column], before[column] = slack, at
            nearest = min((column for column in range(columns) if not used[column]), key=least.__getitem__)
            step = least[nearest]
            for column in range(columns + 1):
                if used[column]:
                    row_potential[owner[column]] += step
                    column_potential[column] -= step
                elif column < columns:
                    least[column] -= step
            at = nearest
        while at != columns:
            owner[at] = owner[before[at]]
            at = before[at]
    return {column: owner[column] for column in range(columns) if owner[column] != rows}
