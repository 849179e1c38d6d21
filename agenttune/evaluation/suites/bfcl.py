"""BFCL's single-turn categories as cases, and its verdicts beside ours (``bfcl_compat``, ``irrelevance_bfcl``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agenttune import protocols
from agenttune.errors import Refusal, UserError, nearest
from agenttune.evaluation.bfcl import wheel
from agenttune.evaluation.bfcl.ast_match import Truth, language_of, verdict
from agenttune.evaluation.bfcl.items import answer_of, native_call, rounds_of, tool_of
from agenttune.evaluation.score import score
from agenttune.protocols.base import Protocol, write
from agenttune.values.case import Case, Score
from agenttune.values.trajectory import JsonObject, Reject, Step, ToolCall, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Bfcl:
    """Some categories; after `read`, what BFCL's own rules need of each case."""

    categories: tuple[str, ...]
    rows: dict[str, tuple[str, JsonObject, Sequence[Truth]]] = field(default_factory=dict)

    def read(self, path: Path, protocol: str | None) -> Iterator[Case | Reject]:
        """The cases of the wheel's files, which it finds itself: `path` only names them."""
        spoken, folder = protocols.get(protocol or "hermes"), wheel.data_folder()
        for category in self.categories:
            truths = {row["id"]: row["ground_truth"] for row in wheel.rows(folder / "possible_answer", category)}
            for number, row in enumerate(wheel.rows(folder, category), 1):
                self.rows[row["id"]] = (category, row, truths.get(row["id"], ()))
                try:
                    yield _case(category, row, truths.get(row["id"], ()), spoken)
                except Refusal as refusal:
                    where, said = f"{path}:{category}", refusal.sentence
                    yield Reject(file=where, line=number, code=refusal.code, sentence=said, record=row, id=row["id"])

    def judge(self, case: Case, step: Step) -> Score:
        """Our judgement, with BFCL's among its counts. Where only *a* call is due (live_relevance) the call is not judged."""
        category, row, truth = self.rows[case.id]
        language = language_of(category)
        made = score(case, replace(step, calls=tuple(native_call(call, row["function"], language) for call in step.calls)))
        calls = [call for call in step.calls if isinstance(call, ToolCall)] if made.outcome == "call_ok" else []
        counts: dict[str, tuple[float, float]] = dict(made.counts)
        if category in wheel.IRRELEVANCE:
            return replace(made, counts={**counts, "irrelevance_bfcl": (float(not calls), 1.0)})
        if category in wheel.RELEVANCE:
            called = {"called": (float(bool(calls)), 1.0), "bfcl_compat": (float(bool(calls)), 1.0)}
            reason = "ok" if calls else "answered" if made.reason == "ok" else made.reason
            return replace(made, abstained=None, reason=reason, counts={**counts, **called})
        compat = verdict(row["function"], calls, truth, category)
        return replace(made, counts={**counts, "bfcl_compat": (float(compat == "ok"), 1.0)})


def named(text: str) -> tuple[str, ...]:
    """Categories of ``simple_python,multiple``, ``ast`` (all that expect calls), ``all`` (of one turn) or ``multi_turn``.

    Raises `UserError`, also where conversations and single turns are mixed.
    """
    groups = {"ast": wheel.AST, "all": wheel.CATEGORIES, "multi_turn": wheel.MULTI_TURN}
    known = (*groups, *wheel.CATEGORIES, *wheel.MULTI_TURN)
    found = [one for name in filter(None, text.split(",")) for one in groups.get(name, (name,))]
    for name in found or [""]:
        if name not in known:
            raise UserError(f'bfcl has no category "{name}"{nearest(name, known)}; name some of {", ".join(known)}: bfcl:simple_python')
    if len({name in wheel.MULTI_TURN for name in found}) > 1:
        raise UserError("bfcl's multi-turn categories are whole conversations; evaluate them in a run of their own")
    return tuple(dict.fromkeys(found))


def _case(category: str, row: JsonObject, truth: Sequence[Truth], protocol: Protocol) -> Case:
    """Raises `Refusal`."""
    language = language_of(category)
    tools = tuple(tool_of(one, language) for one in row["function"])
    system, rounds = rounds_of(row["question"][0])
    trajectory = Trajectory(id=row["id"], system=system, tools=tools, rounds=rounds)
    folded = {name: "text" for call in truth for values in call.values() for name in values}
    return Case(
        id=row["id"],
        sample=write(trajectory, protocol),
        answers=(answer_of(truth),) if truth else (),
        compare=folded,
        clusters=(_cluster(category, row),),
        tags={"category": category, "kind": "any_call" if category in wheel.RELEVANCE else "call" if truth else "no_tool"},
    )


def _cluster(category: str, row: JsonObject) -> str:
    """Live questions of one tool list are of one user: ``live_simple_12-4-0`` belongs to list 4."""
    parts = row["id"].rsplit("_", 1)[-1].split("-")
    return f"{category} {parts[1]}" if len(parts) == 3 else row["id"]
