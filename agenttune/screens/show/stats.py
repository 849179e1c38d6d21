"""Counts over a whole file of records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agenttune import protocols
from agenttune.errors import Refusal, UserError
from agenttune.screens.blocks import note
from agenttune.screens.inert import inert
from agenttune.screens.show.records import Read, read_record, records
from agenttune.screens.show.sharing import line_of_packs
from agenttune.values.sample import Sample
from agenttune.values.tokens import Rendered
from agenttune.values.trajectory import Step, ToolCall, Trajectory

NAMES = 10  # rows of a list of names
KEPT = 5000  # renderings that are looked at for what they share
Render = Callable[[Sample], tuple[Rendered, ...]]


@dataclass(slots=True)
class Stats:
    """What is counted: records by kind, reasons of what could not be held, calls by tool, and lists of sizes by name."""

    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    renderings: list[Rendered] = field(default_factory=list)

    def size(self, name: str, value: int) -> None:
        """One more value of a size."""
        self.sizes.setdefault(name, []).append(value)


def show_stats(console: Console, file: str, tokens: str | None, template: str, systems: Mapping[str, str] | None = None) -> None:
    """Reads all of `file` and prints the counts; with `tokens`, lengths under that model's tokenizer too. Raises `UserError`."""
    stats = gather(file, renderer(tokens, template) if tokens else None, systems)
    if not stats.kinds:
        raise UserError(f"{file} holds no record")
    note(console, f"{file}: {stats.kinds.total():,} records", style="bold")
    _counts(console, "records", stats.kinds)
    _counts(console, "not held, by reason", stats.reasons)
    _counts(console, "steps", stats.steps)
    _counts(console, f"calls by tool ({len(stats.tools):,} tools)", stats.tools)
    if stats.groups:
        note(console, f"groups: {len(stats.groups):,}")
    _sizes(console, stats)
    if stats.renderings:
        part = f"the first {KEPT:,} " if len(stats.renderings) == KEPT else ""
        note(console, f"{part}{line_of_packs(stats.renderings)}")


def renderer(model: str, template: str) -> Render:
    """Renders samples for this model. Raises `UserError`."""
    from agenttune import models, templates
    from agenttune.data.render import render

    tokenizer = models.load_tokenizer(model)
    form = templates.load(template, tokenizer)
    return lambda sample: render(sample, form, tokenizer)


def gather(file: str, render: Render | None = None, systems: Mapping[str, str] | None = None) -> Stats:
    """The counts of a file."""
    stats = Stats()
    for record in records(file):
        _count(stats, read_record(record, systems), render)
    return stats


def _count(stats: Stats, read: Read, render: Render | None) -> None:
    stats.kinds[read.what.partition(" (")[0] if read.kind == "raw" else read.kind] += 1
    stats.reasons.update(error.code for error in read.refusals)
    if read.kind == "reject":
        stats.reasons[str(read.raw.get("code"))] += 1
    for trajectory in read.trajectories:
        _trajectory(stats, trajectory)
    if read.sample is not None:
        _sample(stats, read.sample)
        if render is not None:
            _rendered(stats, read.sample, render)


def _trajectory(stats: Stats, trajectory: Trajectory) -> None:
    steps = [step for round_ in trajectory.rounds for step in round_.steps]
    stats.size("rounds", len(trajectory.rounds))
    stats.size("steps", len(steps))
    stats.size("tools offered", len(trajectory.tools))
    _group(stats, trajectory.group)
    for step in steps:
        _step(stats, step)


def _sample(stats: Stats, sample: Sample) -> None:
    stats.kinds[f"sample, {sample.protocol}"] += 1
    stats.kinds["sample"] -= 1
    stats.size("turns", len(sample.turns))
    stats.size("tools offered", len(sample.tools))
    stats.size("characters", sum(len(turn.system) + len(turn.input) + len(turn.output) for turn in sample.turns))
    _group(stats, str(sample.meta.get("group") or ""))
    protocol = protocols.find(sample.protocol)
    for turn in sample.turns:
        if not turn.output:
            stats.steps["not answered"] += 1
        elif protocol is not None:
            _step(stats, protocol.parse(turn.output))
        stats.steps["context only"] += bool(turn.output) and turn.weight == 0


def _step(stats: Stats, step: Step) -> None:
    for call in step.calls:
        stats.steps["calls" if isinstance(call, ToolCall) else "malformed calls"] += 1
        if isinstance(call, ToolCall):
            stats.tools[call.name] += 1
    stats.steps["answers"] += step.answer is not None
    stats.steps["with a thought"] += bool(step.thought)
    stats.steps["failed calls"] += sum(seen.error for seen in step.observations)


def _group(stats: Stats, group: str) -> None:
    if group:
        stats.groups.add(group)


def _rendered(stats: Stats, sample: Sample, render: Render) -> None:
    try:
        made = render(sample)
    except Refusal as error:
        stats.reasons[error.code] += 1
        return
    stats.renderings += made[: KEPT - len(stats.renderings)]
    stats.size("tokens", sum(len(one.token_ids) for one in made))
    stats.size("tokens trained", sum(sum(map(bool, one.weights)) for one in made))


def _counts(console: Console, title: str, counts: Counter[str]) -> None:
    rows = [(name, count) for name, count in counts.most_common() if count]
    if not rows:
        return
    note(console, title, style="bold")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, count in rows[:NAMES]:
        table.add_row(Text(f"  {inert(name)}"), f"{count:,}")
    if len(rows) > NAMES:
        table.add_row(f"  … and {len(rows) - NAMES} more", f"{sum(count for _, count in rows[NAMES:]):,}")
    console.print(table)


def _sizes(console: Console, stats: Stats) -> None:
    if not stats.sizes:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("sizes", "least", "median", "95 %", "most", "sum"):
        table.add_column(name, justify="left" if name == "sizes" else "right")
    for name, values in stats.sizes.items():
        table.add_row(name, *(f"{one:,}" for one in summary(values)))
    console.print(table)


def summary(values: Sequence[int]) -> tuple[int, int, int, int, int]:
    """Least, median, 95th percentile (nearest rank), most, sum."""
    ranked = sorted(values)
    at = [ranked[max(-(-len(ranked) * share // 100) - 1, 0)] for share in (50, 95)]
    return ranked[0], at[0], at[1], ranked[-1], sum(ranked)
