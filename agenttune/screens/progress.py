"""What a person sees of long work: training, evaluation and conversion tell events, these screens write them."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agenttune.data.convert import report
from agenttune.data.convert.report import ConvertReport, Detected, summary_rows
from agenttune.data.convert.verdict import verdict
from agenttune.screens.blocks import note
from agenttune.screens.console import stderr, stdout
from agenttune.screens.inert import inert
from agenttune.screens.show.sharing import shared_line
from agenttune.screens.status_line import Ticker
from agenttune.training.events import Checked, Notice, Saved, StepLogged, TrainingEvent, TrainingFinished, TrainingStarted, TrainSummary
from agenttune.values.counted import counted

if TYPE_CHECKING:
    from agenttune.evaluation import evaluate

E = TypeVar("E")
BAR = 20  # columns


class Queued(Generic[E]):
    """Handles one event at a time: one that is told by a signal handler, in the middle of another's writing, waits for its end."""

    def __init__(self, handle: Callable[[E], None]) -> None:
        self._handle = handle
        self._waiting: deque[E] = deque()
        self._busy = False

    def __call__(self, event: E) -> None:
        """Takes an event."""
        self._waiting.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._handle(self._waiting.popleft())
        finally:
            self._busy = False


@contextlib.contextmanager
def training_screen(console: Console | None = None, out: Console | None = None) -> Iterator[Callable[[TrainingEvent], None]]:
    """Takes a training run's events: progress on standard error, the summary on standard output."""
    screen = Training(Ticker(console or stderr()), out)
    try:
        yield Queued(screen.on)
    finally:
        screen.ticker.end()


class Training:
    """One training run on the screen."""

    def __init__(self, ticker: Ticker, out: Console | None) -> None:
        self.ticker = ticker
        self._out = out

    def on(self, event: TrainingEvent) -> None:
        """Writes what an event says."""
        if isinstance(event, Notice):
            self.ticker.say(event.text, style="yellow")
        elif isinstance(event, TrainingStarted):
            for line in started(event):
                self.ticker.say(line)
        elif isinstance(event, StepLogged):
            self.ticker.tick(step_line(event), final=event.step >= event.total)
        elif isinstance(event, Checked):
            self.ticker.say(check_line(event), style="bold" if event.best else "")
        elif isinstance(event, Saved):
            what = "saved" if event.final else f"checkpoint of step {event.step}"
            self.ticker.say(f"{what}: {event.path}", style="bold" if event.final else "dim")
        else:
            self._finished(event)

    def _finished(self, event: TrainingFinished) -> None:
        self.ticker.end()
        for line in summary_lines(event.summary):
            note(self._out or stdout(), line, style="")


def started(event: TrainingStarted) -> Iterator[str]:
    """The run as planned, in a few lines."""
    share = 100 * event.trainable / max(event.parameters, 1)
    part = "100 %" if share >= 99.5 else f"{share:.2g} %"
    several = f", {event.processes} processes" if event.processes > 1 else ""
    several += f", DeepSpeed {event.deepspeed}" if event.deepspeed else ""
    yield f"{event.model}, {event.method}, {event.device} {event.dtype}{several}: {event.trainable:,} parameters trained ({part})"
    saved = 100 * (1 - event.tokens_computed / max(event.tokens_total, 1))
    tokens = f"{event.tokens_total:,} tokens, {event.tokens_supervised:,} of them trained"
    packs = counted(event.packs, "pack computes", "packs compute")
    yield f"{counted(event.samples, 'sample')}, {tokens}; {packs} {event.tokens_computed:,} ({saved:.0f} % saved by sharing)"
    if event.rejected:
        yield "left out: " + ", ".join(f"{code} {count:,}" for code, count in event.rejected.items())
    begin = f" from step {event.step}" if event.step else ""
    epochs = f"{event.epochs:.3g} epoch{'' if event.epochs == 1 else 's'}"
    yield f"{event.steps:,} steps{begin}, {epochs}, pack {event.pack}, attention {event.attention}, into {event.output}"


def step_line(event: StepLogged) -> str:
    """``[====    ] step 40/100  loss 0.512  1,234 tokens/s  2 min 03 s left``."""
    rest = f"{event.tokens_per_second:,.0f} tokens/s  {duration(event.seconds_left)} left"
    return f"{bar(event.step, event.total)} step {event.step}/{event.total}  loss {event.loss:.3f}  {rest}"


def check_line(event: Checked) -> str:
    """``check at step 40: held-out loss 1.204, 38 of 64 cases right, 30 of 48 calls; the best so far``."""
    parts = [] if event.loss is None else [f"held-out loss {event.loss:.3f}"]
    if event.cases:
        parts.append(f"{event.right} of {event.cases} cases right")
    if event.calls[1]:
        parts.append(f"{event.calls[0]} of {event.calls[1]} calls")
    return f"check at step {event.step}: {', '.join(parts)}{'; the best so far' if event.best else ''}"


def summary_lines(summary: TrainSummary) -> Iterator[str]:
    """What was trained, in how long, to which loss, how fast, and where it is."""
    if summary.interrupted:
        yield f"stopped after step {summary.steps:,}; the same command with --resume goes on"
    else:
        yield f"{summary.steps:,} steps in {duration(summary.seconds)}, loss {summary.loss_first:.3f} to {summary.loss_last:.3f}"
    saved = 100 * (1 - summary.tokens_computed / max(summary.tokens_total, 1))
    tokens = f"{summary.tokens_total:,} tokens, {summary.tokens_computed:,} computed ({saved:.0f} % saved by sharing)"
    speed = summary.tokens_total / max(summary.seconds, 1e-9)
    yield f"{counted(summary.samples, 'sample')}, {tokens}, {summary.tokens_supervised:,} supervised; {speed:,.0f} tokens/s"
    if any(summary.saved.values()):
        yield f"shared: {shared_line(summary.tokens_total, summary.tokens_computed, summary.saved)}"
    yield f"peak memory {summary.peak_rss_mb:,.0f} MB{gpu_memory(summary)}"
    if not summary.interrupted:
        which = f", the weights of step {summary.kept['step']}, the best check" if summary.kept else ""
        yield f"{'model' if summary.method == 'full' else 'adapter'}: {summary.output}{which}"


def gpu_memory(summary: TrainSummary) -> str:
    """What the GPU held at most, where there was one."""
    return f", of the GPU {summary.peak_gpu_mb:,.0f} MB" if summary.peak_gpu_mb else ""


def bar(done: int, total: int) -> str:
    """``[=====     ]``."""
    full = BAR * min(done, total) // max(total, 1)
    return f"[{'=' * full}{' ' * (BAR - full)}]"


def duration(seconds: float) -> str:
    """``45 s``, ``2 min 03 s``, ``1 h 04 min``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


@contextlib.contextmanager
def evaluation_screen(console: Console | None = None) -> Iterator[Callable[[evaluate.EvaluationEvent], None]]:
    """Takes an evaluation's events."""
    screen = Evaluation(Ticker(console or stderr()))
    try:
        yield Queued(screen.on)
    finally:
        screen.ticker.end()


class Evaluation:
    """One evaluation on the screen: cases when a batch is judged, and what is being written between."""

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        # When a batch was first judged, and how far it was: what an earlier run judged took no time.
        self._first: tuple[float, int] | None = None
        self._cases = ""

    def on(self, event: evaluate.EvaluationEvent) -> None:
        """Writes what an event says."""
        from agenttune.evaluation.evaluate import CasesScored

        if isinstance(event, CasesScored):
            self._cases = f"{bar(event.done, event.total)} {event.done}/{event.total} cases{right_so_far(event)}{self._left(event)}"
            self.ticker.tick(self._cases, final=event.done >= event.total)
        else:
            self.ticker.tick(f"{self._cases}{'  ' if self._cases else ''}writing: {event.characters:,} characters")

    def _left(self, event: evaluate.CasesScored) -> str:
        self._first = self._first or (time.monotonic(), event.done)
        since, done = self._first
        if event.done <= done or event.done >= event.total:
            return ""
        return f"  {duration((time.monotonic() - since) / (event.done - done) * (event.total - event.done))} left"


def right_so_far(event: evaluate.CasesScored) -> str:
    """``  62 % right (53–70)``: so far, with the interval of as many independent cases."""
    from agenttune.evaluation.stats import wilson

    if not event.done or event.right is None:
        return ""
    low, high = wilson(event.right, event.done)
    return f"  {100 * event.right / event.done:.0f} % right ({100 * low:.0f}–{100 * high:.0f})"


MINUTE = 60.0


@contextlib.contextmanager
def convert_screen(console: Console | None = None) -> Iterator[Callable[[report.ConvertEvent], None]]:
    """Takes a conversion's events: a bar on a terminal, a line a minute elsewhere."""
    screen = Conversion(Ticker(console or stderr(), quiet=MINUTE))
    try:
        yield Queued(screen.on)
    finally:
        screen.ticker.end()


class Conversion:
    """One conversion on the screen."""

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self._start = time.monotonic()

    def on(self, event: report.ConvertEvent) -> None:
        """Writes what an event says."""
        if isinstance(event, Detected):
            self.ticker.say(f"{event.file}: read as {event.source} ({event.reason})")
        else:
            self.ticker.tick(convert_line(event, time.monotonic() - self._start))


def convert_line(event: report.Progress, seconds: float) -> str:
    """``[=====     ] 25 %  1,000 records, 990 samples, 10 rejects  1,234 a second  2 min 03 s left``, as far as it is known."""
    rate = f"  {event.records / seconds:,.0f} a second" if seconds >= 1 else ""
    counts = ", ".join((counted(event.records, "record"), counted(event.samples, "sample"), counted(event.rejects, "reject"))) + rate
    if not event.bytes_total:
        return counts
    done = min(event.bytes_done, event.bytes_total)
    left = f"  {duration(seconds / done * (event.bytes_total - done))} left" if rate and done < event.bytes_total else ""
    return f"{bar(done, event.bytes_total)} {100 * done // event.bytes_total} %  {counts}{left}"


def convert_table(report: ConvertReport, console: Console | None = None, *, page: Path | None = None) -> None:
    """The closing table of a conversion, and where everything is. `page` is the report that can be looked at."""
    console = console or stdout()
    for number, line in enumerate(verdict(report)):
        note(console, line, style="yellow" if number else "bold")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, count in summary_rows(report):
        table.add_row(Text(inert(name)), f"{count:,}")
    console.print(table)
    for one in report.outputs:
        note(console, f"{one.name}: {counted(one.records, 'record')}", style="bold")
    for line in report.notes:
        note(console, line, style="yellow")
    if not report.samples and not report.shard:
        note(console, "nothing usable" + ("" if report.checked_only else f"; see {_rejects(report)}"), style="red")
    elif report.rejects and report.outputs and not report.shards:
        note(console, f"why some were refused: {_rejects(report)}")
    if page is not None:
        note(console, f"with pictures: {page}")


def _rejects(report: ConvertReport) -> str:
    return str(Path(report.out).with_suffix(".rejects.jsonl"))
