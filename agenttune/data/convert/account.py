"""The account of a conversion while it is under way: every record and conversation is counted once, and the sums are proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agenttune.data.convert.converted import Part, id_of
from agenttune.data.convert.report import COUNTED, ConvertReport, Finding, by_count
from agenttune.data.convert.sizes import Names, Sizes
from agenttune.data.convert.tally import BEFORE, Tally
from agenttune.sources.reading.records import RawRecord

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
        """A raw record with all that was made of it. Of what a tally has counted only the findings are left."""
        if parts[0].counted:
            for part in parts:
                self._findings(part)
            return
        refused = [part for part in parts if part.refusal is not None]
        kind = "whole" if not refused else "refused" if len(refused) == len(parts) else "partly"
        self.counts["records"] += 1
        self.counts[kind] += 1
        self.counts["trajectories"] += len(parts)
        tally = Tally()
        for part in parts:
            self._part(record, part, tally)
        self.merge(tally)

    def merge(self, tally: Tally) -> None:
        """All that a tally has counted."""
        self.counts.update(tally.counts)
        for name, count in tally.changes.items():
            self.counts[f"change:{name}"] += count
        self.lengths.update(tally.lengths)
        self.steps.update(tally.steps)
        for name, count in tally.tools.items():
            self.tools.add(name, count)

    def _findings(self, part: Part) -> None:
        for one in part.findings:
            self._example("finding:", one, self.examples)

    def _part(self, record: RawRecord, part: Part, tally: Tally) -> None:
        self._findings(part)
        if part.refusal is not None:
            self.counts["rejects"] += 1
            few = self.counts[f"reason:{part.refusal.code}"] < EXAMPLES
            shown = Finding(
                code=part.refusal.code, severity="reject", sentence=part.refusal.sentence, excerpt=part.refusal.excerpt,
                file=record.file, line=record.line, id=part.id or (id_of(record) if few else ""),
            )  # fmt: skip
            self._example("reason:", shown, self.refusals)
            tally.sizes(BEFORE, part.size)
        else:
            tally.sample(part)

    def _example(self, prefix: str, one: Finding, kept: list[Finding]) -> None:
        self.counts[prefix + one.code] += 1
        if self.counts[prefix + one.code] <= EXAMPLES:
            kept.append(one)

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
