"""The account of a conversion: every record and conversation counted once. Accounts merge: those of chunks, and those of shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agenttune.data.convert.converted import Converted, Counts, id_of
from agenttune.data.convert.report import COUNTED, ConvertReport
from agenttune.data.convert.sizes import Names, Sizes
from agenttune.data.quality.finding import Finding
from agenttune.sources.reading.records import RawRecord

EXAMPLES = 20  # findings of one code in the report, and refusals of one code
MAIN = "train"  # what the part beside those that were split off is called
_TOTALS = ("records", "whole", "partly", "refused", "trajectories", "samples", "rejects")
_RANKED = ("reasons", "changes", "findings", "touched")
_AS_THEY_STAND = ("before", "after", "splits")


@dataclass(slots=True)
class Account:
    """What was counted so far. The fields are those of the report; `totals` holds its plain numbers."""

    totals: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    dropped: Names = field(default_factory=Names)
    findings: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    examples: list[Finding] = field(default_factory=list)
    refusals: list[Finding] = field(default_factory=list)
    lengths: Sizes = field(default_factory=Sizes)
    steps: Sizes = field(default_factory=Sizes)
    tools: Names = field(default_factory=Names)

    def take(self, made: list[Converted]) -> list[Converted]:
        """Counts a record whose conversations are all samples, and stay so, but for the findings, and gives back what is left of them.

        Others come back as they are.
        """
        if any(one.refusal is not None for one in made):
            return made
        self._record(made)
        for one in made:
            self._sample(one)
        return [one.without_counts() for one in made]

    def add(self, record: RawRecord, made: Sequence[Converted]) -> None:
        """Counts a raw record with all that was made of it. Of what was taken into another account only the findings are left."""
        for one in made:
            if one.findings:
                self._examples(one.findings, self.findings, self.examples)
                self.touched.update({found.code for found in one.findings})
        if made[0].counted:
            return
        self._record(made)
        for one in made:
            if one.refusal is None:
                self._sample(one)
            else:
                self._reject(record, one)

    def merge(self, other: Account) -> None:
        """All of another account, which comes after this one."""
        for name in ("totals", "before", "after", "changes", "touched", "splits"):
            getattr(self, name).update(getattr(other, name))
        for counts, seen, kept, new in (
            (self.findings, other.findings, self.examples, other.examples),
            (self.reasons, other.reasons, self.refusals, other.refusals),
        ):
            kept += _first(new, Counter(one.code for one in kept))
            counts.update(seen)
        self.lengths.update(other.lengths)
        self.steps.update(other.steps)
        for names, more in ((self.tools, other.tools), (self.dropped, other.dropped)):
            for name, count in more.counts.items():
                names.add(name, count)

    def _record(self, made: Sequence[Converted]) -> None:
        refused = sum([one.refusal is not None for one in made])
        self.totals["records"] += 1
        self.totals["whole" if not refused else "refused" if refused == len(made) else "partly"] += 1
        self.totals["trajectories"] += len(made)

    def _sample(self, one: Converted) -> None:
        self.totals["samples"] += 1
        self.splits[one.split or MAIN] += 1
        _add(self.before, one.read)
        _add(self.after, one.written)
        for name, count in one.changes.items():
            self.changes[name] += count
        for name, count in one.tools.items():
            self.tools.add(name, count)
        for name, count in one.dropped.items():
            self.dropped.add(name, count)
        self.lengths.add(one.length)
        self.steps.add(one.steps)

    def _reject(self, record: RawRecord, one: Converted) -> None:
        assert one.refusal is not None
        self.totals["rejects"] += 1
        few = self.reasons[one.refusal.code] < EXAMPLES
        shown = Finding(
            code=one.refusal.code, severity="reject", sentence=one.refusal.sentence, excerpt=one.refusal.excerpt,
            file=record.file, line=record.line, id=one.id or (id_of(record) if few else ""),
        )  # fmt: skip
        self._examples([shown], self.reasons, self.refusals)
        _add(self.before, one.read)

    def _examples(self, found: Sequence[Finding], counts: Counter[str], kept: list[Finding]) -> None:
        for one in found:
            counts[one.code] += 1
            if counts[one.code] <= EXAMPLES:
                kept.append(one)

    def filled(self, report: ConvertReport, splits: Iterable[str] = ()) -> ConvertReport:
        """The report with all that was counted. `splits` are the names of all parts, those that are empty too."""
        totals = self.totals
        assert totals["records"] == totals["whole"] + totals["partly"] + totals["refused"]
        assert totals["trajectories"] == totals["samples"] + totals["rejects"]
        return replace(
            report,
            records=totals["records"],
            whole=totals["whole"],
            partly=totals["partly"],
            refused=totals["refused"],
            trajectories=totals["trajectories"],
            samples=totals["samples"],
            rejects=totals["rejects"],
            reasons=_ranked(self.reasons),
            before={name: self.before[name] for name in COUNTED},
            after={name: self.after[name] for name in COUNTED},
            changes=_ranked(self.changes),
            dropped=self.dropped.ranked(),
            findings=_ranked(self.findings),
            touched=_ranked(self.touched),
            splits={name: self.splits[name] for name in (splits or self.splits)},
            examples=tuple(self.examples),
            refusals=tuple(self.refusals),
            lengths=self.lengths,
            steps=self.steps,
            tools=self.tools.ranked(),
        )


def account_of(report: ConvertReport) -> Account:
    """The account that a report was filled from."""
    account = Account(totals=Counter({name: getattr(report, name) for name in _TOTALS}))
    for name in (*_RANKED, *_AS_THEY_STAND):
        setattr(account, name, Counter(getattr(report, name)))
    account.examples, account.refusals = list(report.examples), list(report.refusals)
    account.lengths.update(report.lengths)
    account.steps.update(report.steps)
    account.tools = Names(Counter(report.tools))
    account.dropped = Names(Counter(report.dropped))
    return account


def _add(counts: Counter[str], numbers: Counts) -> None:
    for name, number in zip(COUNTED, numbers, strict=True):
        counts[name] += number


def _first(found: Sequence[Finding], known: Counter[str]) -> list[Finding]:
    """The first of each code, `EXAMPLES` of them with those already known."""
    kept = []
    for one in found:
        known[one.code] += 1
        if known[one.code] <= EXAMPLES:
            kept.append(one)
    return kept


def _ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest first, names of equal counts in order."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
