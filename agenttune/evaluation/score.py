"""Right or wrong, with a reason: one step against one case."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agenttune.data.quality.schema_check import mismatches
from agenttune.evaluation.call_matching import DIFFERENCES, argument_f1, best_matching, difference
from agenttune.evaluation.repair import repaired
from agenttune.evaluation.text_overlap import rouge_l
from agenttune.protocols import PROTOCOLS
from agenttune.values.case import Answer, Case, ExpectedCall, Score
from agenttune.values.trajectory import Malformed, Step, ToolCall, ToolSpec

# What a step is, right or wrong: calls that can be read, an answer, a try that cannot be read, nothing, cut by a limit, or no reply
# at all, which is the endpoint's fault: such a step is asked for again and never judged.
OUTCOMES = ("call_ok", "final", "malformed", "empty", "truncated", "infra_error")
# Where the names are not right, or no call is, or none was wanted. ``length`` and ``context``: a limit cut the step.
REASONS = (
    *DIFFERENCES, "wrong_tool", "invented_tool", "missing_call", "extra_call", "wrong_order",
    "answered", "called", "malformed", "empty", "length", "context",
)  # fmt: skip
_COSTS = ("wrong_order", "missing_call", "extra_call", "wrong_tool", "invented_tool")  # best first, after `DIFFERENCES`


def outcome_of(step: Step, tools: Sequence[ToolSpec] = ()) -> str:
    """One of `OUTCOMES`. An answer that tries to call (see `tries_to_call`) is malformed: it is no restraint."""
    if step.outcome in ("truncated", "context"):
        return "truncated"
    if step.outcome == "infra_error":
        return "infra_error"
    if not step.usable or any(isinstance(call, Malformed) for call in step.calls):
        return "malformed"
    if step.calls:
        return "call_ok"
    answer = (step.answer or "").strip()
    if not answer:
        return "empty"
    return "malformed" if tries_to_call(answer, tools) else "final"


def tries_to_call(answer: str, tools: Sequence[ToolSpec] = ()) -> bool:
    """Whether an answer holds a call that nobody will run: a protocol's marker of one, or a tool's name as a function or in JSON."""
    if any(span.kind == "action" for protocol in PROTOCOLS.values() for span in protocol.spans(answer)):
        return True
    names = "|".join(re.escape(tool.name) for tool in tools)
    return bool(names and re.search(rf'(?<![\w.])(?:{names})[({{]|"name"\s*:\s*"(?:{names})"', answer))


def score(case: Case, step: Step) -> Score:
    """The judgement of one step.

    Of several calls each counts: all that are wanted, no other, in any order unless the case is ordered. `valid`: the step can be read
    as calls, or as an answer that is not empty, and ended by itself. `tool`, `arguments`, `call`: the names, the arguments (None where
    a name is wrong) and both, where calls are expected. `abstained`: an answer where no call is expected; so what cannot be read is
    never taken for restraint. `reason` is one of `REASONS`.
    """
    outcome = outcome_of(step, case.sample.tools)
    tables = _tables(case, step, outcome)
    reason = _reason(case, step, outcome, tables)
    named = reason in DIFFERENCES
    wants_call = bool(case.answers)
    return Score(
        case=case.id,
        valid=outcome in ("call_ok", "final"),
        tool=named if wants_call else None,
        arguments=reason == "ok" if wants_call and named else None,
        call=reason == "ok" if wants_call else None,
        abstained=None if wants_call else reason == "ok",
        reason=reason,
        outcome=outcome,
        output=step.raw,
        stop=step.outcome,
        tokens=len(step.token_ids),
        tags=dict(case.tags),
        clusters=case.clusters,
        counts=_counts(case, step, outcome, reason, tables),
    )


def _reason(case: Case, step: Step, outcome: str, tables: Sequence[_Table]) -> str:
    if outcome == "truncated":
        return "context" if step.outcome == "context" else "length"
    if outcome not in ("call_ok", "final"):
        return outcome
    if not case.answers:
        return "called" if step.calls else "ok"
    if not step.calls:
        return "answered"
    return min((_against(case, table) for table in tables), key=(*DIFFERENCES, *_COSTS).index)


def _calls(step: Step) -> list[ToolCall]:
    return [call for call in step.calls if isinstance(call, ToolCall)]


def _against(case: Case, table: _Table) -> str:
    """How calls differ from one answer."""
    names, expected = [call.name for call in table.calls], [one.name for one in table.answer]
    made, wanted = Counter(names), Counter(expected)
    if made != wanted:
        tools = {tool.name for tool in case.sample.tools}
        if tools and any(name not in tools for name in made - wanted):
            return "invented_tool"
        if not wanted - made:
            return "extra_call"
        return "missing_call" if not made - wanted else "wrong_tool"
    if case.ordered and names != expected:
        return "wrong_order"
    if case.ordered:
        return max((table.differences[at][at] for at in range(len(names))), key=_rank)
    if best_matching(table.right) == len(names):
        return "ok"
    worst = max((min(row, key=_rank) for row in table.differences), key=_rank)
    return worst if worst != "ok" else "wrong_value"  # each call alone is right, but two of them are the same one


def _rank(name: str) -> int:
    return DIFFERENCES.index(name) if name in DIFFERENCES else len(DIFFERENCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Every made call (a row) against every wanted one of an answer (a column): how it differs, and its arguments' F1."""

    calls: Sequence[ToolCall]
    answer: Answer
    differences: list[list[str]]

    @property
    def right(self) -> list[list[float]]:
        """1 where a call is the wanted one."""
        return [[float(name == "ok") for name in row] for row in self.differences]

    @property
    def whole(self) -> bool:
        """Whether each wanted call is made, and no other."""
        return len(self.calls) == len(self.answer) == best_matching(self.right)


def _table(case: Case, calls: Sequence[ToolCall], answer: Answer, *, strict: bool = False) -> _Table:
    tools = {tool.name: tool for tool in case.sample.tools}

    def one(call: ToolCall, wanted: ExpectedCall) -> str:
        if call.name != wanted.name:
            return "wrong_tool"
        return difference(call, wanted, case.compare, tools.get(call.name), strict=strict)

    return _Table(calls=calls, answer=answer, differences=[[one(call, wanted) for wanted in answer] for call in calls])


def _tables(case: Case, step: Step, outcome: str) -> list[_Table]:
    """The calls that can be read against each answer."""
    calls = _calls(step) if outcome == "call_ok" else []
    return [_table(case, calls, answer) for answer in case.answers]


def _counts(case: Case, step: Step, outcome: str, reason: str, tables: Sequence[_Table]) -> dict[str, tuple[float, float]]:
    """What `Score.counts` holds, by metric."""
    calls = _calls(step) if outcome == "call_ok" else []
    found = _schema_counts(case.sample.tools, calls)
    if step.token_ids:  # where it can be seen: a server does not say at which text it stopped
        found["invented_observation"] = (float(step.outcome == "fabricated_observation"), 1.0)
    if not case.answers:
        if case.reference:
            found["rouge_l"] = (rouge_l(step.answer or "", case.reference) if outcome == "final" else 0.0, 1.0)
        return found
    if calls:
        found["tool_if_called"] = (float(reason in DIFFERENCES), 1.0)
    strict = reason == "ok" and any(_table(case, calls, answer, strict=True).whole for answer in case.answers)
    found["called"] = (float(outcome == "call_ok"), 1.0)
    found["call_strict"] = (float(strict), 1.0)
    found["call_repaired"] = (float(_repaired(case, step, reason)), 1.0)
    return {**found, **_overlap(case, calls, tables)}


def _repaired(case: Case, step: Step, reason: str) -> bool:
    """Whether the calls are right as a lenient reader reads them."""
    mended = repaired(step, case.sample)
    if reason == "ok" or mended.calls == step.calls:
        return reason == "ok"
    outcome = outcome_of(mended, case.sample.tools)
    return _reason(case, mended, outcome, _tables(case, mended, outcome)) == "ok"


def _overlap(case: Case, calls: Sequence[ToolCall], tables: Sequence[_Table]) -> dict[str, tuple[float, float]]:
    """Precision, recall and F1 of calls and F1 of their arguments, of several answers the best; each call is used once."""
    right, size = max(((best_matching(one.right), len(one.answer)) for one in tables), key=lambda found: found[0] / found[1])
    found = {
        "argument_f1": (max(_arguments_f1(case, one) for one in tables), 1.0),
        "call_recall": (right, float(size)),
        "call_f1": (2 * right / (len(calls) + size), 1.0),
    }
    return {**found, "call_precision": (right, float(len(calls)))} if calls else found


def _arguments_f1(case: Case, table: _Table) -> float:
    tools = {tool.name: tool for tool in case.sample.tools}
    f1 = [
        [
            1.0 if how == "ok" else argument_f1(call, wanted, case.compare, tools.get(call.name))
            for how, wanted in zip(row, table.answer, strict=True)
        ]
        for call, row in zip(table.calls, table.differences, strict=True)
    ]
    return best_matching(f1) / max(len(table.calls), len(table.answer))


def _schema_counts(tools: Sequence[ToolSpec], calls: Sequence[ToolCall]) -> dict[str, tuple[float, float]]:
    """Of what was called: tools that are not offered, and arguments that the schema does not know or whose type it forbids."""
    if not calls or not tools:
        return {}
    known: Mapping[str, ToolSpec] = {tool.name: tool for tool in tools}
    arguments = [(call, name) for call in calls for name in call.arguments if call.name in known]
    found = {"invented_tool": (float(sum(call.name not in known for call in calls)), float(len(calls)))}
    if arguments:
        wrong = [one for call in calls if call.name in known for one in mismatches(call.arguments, known[call.name].parameters)]
        unknown = sum(one.kind == "unknown" and "." not in one.where and "[" not in one.where for one in wrong)
        types = {(id(one), one.where.partition(".")[0].partition("[")[0]) for one in wrong if one.kind in ("type", "enum")}
        found["invented_argument"] = (float(unknown), float(len(arguments)))
        found["wrong_type_argument"] = (float(len(types)), float(len(arguments)))
    return found
