"""The account of a conversion while it is under way: every record and conversation is counted once, and the sums are proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agenttune.data.convert_part import Part, id_of
from agenttune.data.convert_report import COUNTED, ConvertReport, Finding, by_count
from agenttune.data.sizes import Names, Sizes
from agenttune.sources.files import RawRecord

_BEFORE = tuple(f"before:{name}" for name in COUNTED)
_AFTER = tuple(f"after:{name}" for name in COUNTED)
EXAMPLES = 20  # findings of one code in the report, and refusals of one code


@dataclass(slots=True)
class Account:
    """What was counted so far."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[Finding] = field(default_factory=list)
    refusals: list[Finding] = field(default_factory=list)
    lengths: Sizes = field(default_factory=Sizes)
    steps: Sizes = field(default_factory=Sizes)
    tools: Names = field(default_factory=Names)

    def add(self, record: RawRecord, parts: Sequence[Part]) -> None:
        """A raw record with all that was made of it."""
        refused = [part for part in parts if part.refusal is not None]
        kind = "whole" if not refused else "refused" if len(refused) == len(parts) else "partly"
        self.counts["records"] += 1
        self.counts[kind] += 1
        self.counts["trajectories"] += len(parts)
        for part in parts:
            self._part(record, part)

    def _part(self, record: RawRecord, part: Part) -> None:
        self._sizes(_BEFORE, part.size)
        for one in part.findings:
            self._example("finding:", one, self.examples)
        if part.refusal is not None:
            self.counts["rejects"] += 1
            few = self.counts[f"reason:{part.refusal.code}"] < EXAMPLES
            shown = Finding(
                code=part.refusal.code, severity="reject", sentence=part.refusal.sentence, excerpt=part.refusal.excerpt,
                file=record.file, line=record.line, id=part.id or (id_of(record) if few else ""),
            )  # fmt: skip
            self._example("reason:", shown, self.refusals)
        else:
            self._sample(part)

    def _example(self, prefix: str, one: Finding, kept: list[Finding]) -> None:
        self.counts[prefix + one.code] += 1
        if self.counts[prefix + one.code] <= EXAMPLES:
            kept.append(one)

    def _sample(self, part: Part) -> None:
        self.counts["samples"] += 1
        self.counts[f"split:{part.split}"] += 1
        self._sizes(_AFTER, part.kept or part.size)
        for name, count in part.changes.items():
            self.counts[f"change:{name}"] += count
        self.lengths.add(part.length)
        self.steps.add(part.steps)
        for name, count in part.tools.items():
            self.tools.add(name, count)

    def _sizes(self, keys: Sequence[str], size: tuple[int, int, int]) -> None:
        for key, count in zip(keys, size, strict=True):
            self.counts[key] += count

    def filled(self, report: ConvertReport, splits: Sequence[str]) -> ConvertReport:
        """The report with all that was counted. `splits` are the names of the parts beside the main one."""
        counts = self.counts
        assert counts["records"] == counts["whole"] + counts["partly"] + counts["refused"]
        assert counts["trajectories"] == counts["samples"] + counts["rejects"]
        return replace(
            report,
            records=counts["records"],
            whole=counts["whole"],
            partly=counts["partly"],
            refused=counts["refused"],
            trajectories=counts["trajectories"],
            samples=counts["samples"],
            rejects=counts["rejects"],
            reasons=by_count(counts, "reason:"),
            before=self._totals("before:"),
            after=self._totals("after:"),
            changes=by_count(counts, "change:"),
            findings=by_count(counts, "finding:"),
            splits={name or "train": counts[f"split:{name}"] for name in ("", *splits)},
            examples=tuple(self.examples),
            refusals=tuple(self.refusals),
            lengths=self.lengths,
            steps=self.steps,
            tools=self.tools.ranked(),
        )

    def _totals(self, prefix: str) -> dict[str, int]:
        return {name: self.counts[prefix + name] for name in COUNTED}
