"""What is seen of long work, on a terminal and elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agenttune.data.convert.report import ConvertReport, Detected, FileReport, Progress
from agenttune.evaluation.evaluate import CasesScored, Generating
from agenttune.screens.progress import (
    Queued,
    bar,
    convert_screen,
    convert_table,
    duration,
    evaluation_screen,
    summary_lines,
    training_screen,
)
from agenttune.screens.status_line import StatusLine, Ticker, cut
from agenttune.training.events import Checked, Notice, Saved, StepLogged, TrainingEvent, TrainingFinished, TrainingStarted, TrainSummary

STARTED = TrainingStarted(
    model="smollm2-135m",
    method="lora",
    output="runs/a",
    samples=1200,
    packs=300,
    step=0,
    steps=100,
    epochs=1.0,
    trainable=5_000_000,
    parameters=140_000_000,
    tokens_total=100_000,
    tokens_computed=40_000,
    tokens_supervised=9_000,
    pack="share",
    attention="tree",
    device="cpu",
    dtype="float32",
    rejected={"too_long": 3},
)
SUMMARY = TrainSummary(
    output="runs/a",
    method="lora",
    steps=100,
    samples=1200,
    tokens_total=100_000,
    tokens_computed=40_000,
    tokens_supervised=9_000,
    saved={},
    seconds=605.0,
    peak_rss_mb=2345.6,
    peak_gpu_mb=0.0,
    loss_first=2.5,
    loss_last=0.25,
    rejected={},
    rejected_too_long=0,
    pack="share",
    attention="tree",
    device="cpu",
    dtype="float32",
    threads=2,
    versions={},
)


def step(number: int) -> StepLogged:
    """Step `number` of 100."""
    left = 2.0 * (100 - number)
    return StepLogged(step=number, total=100, loss=1.5, learning_rate=0.001, grad_norm=1.0, tokens_per_second=1234.5, seconds_left=left)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``clock(seconds)`` moves the time that the screens see."""
    now = [1000.0]
    monkeypatch.setattr("agenttune.screens.status_line.time.monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def run(events: list[TrainingEvent], screen: Any, clock: Callable[[float], None], seconds: float, **options: Any) -> tuple[Any, str]:
    """The screen, and standard output, after events `seconds` apart."""
    made, out = screen(**options), screen()
    with training_screen(made.console, out.console) as on:
        for event in events:
            on(event)
            clock(seconds)
    return made, out.text


def test_a_run_in_a_log_file_is_a_line_now_and_then(screen: Any, clock: Callable[[float], None]) -> None:
    events: list[TrainingEvent] = [
        Notice(text="prefixes are not shared"),
        STARTED,
        *map(step, range(1, 101)),
        Saved(path="runs/a", step=100, final=True),
    ]
    made, out = run([*events, TrainingFinished(summary=SUMMARY)], screen, clock, 1.0, width=200)
    assert made.lines[:5] == [
        "prefixes are not shared",
        "smollm2-135m, lora, cpu float32: 5,000,000 parameters trained (3.6 %)",
        "1,200 samples, 100,000 tokens, 9,000 of them trained; 300 packs compute 40,000 (60 % saved by sharing)",
        "left out: too_long 3",
        "100 steps, 1 epoch, pack share, attention tree, into runs/a",
    ]
    steps = [int(found) for found in re.findall(r"step (\d+)/100", made.text)]
    assert steps == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100]
    assert made.lines[5] == "[                    ] step 1/100  loss 1.500  1,234 tokens/s  3 min 18 s left"
    assert made.lines[-2] == "saved: runs/a"
    assert "\r" not in made.raw
    assert out == (
        "100 steps in 10 min 05 s, loss 2.500 to 0.250\n"
        "1,200 samples, 100,000 tokens, 40,000 computed (60 % saved by sharing), 9,000 supervised; 165 tokens/s\n"
        "peak memory 2,346 MB\n"
        "adapter: runs/a\n"
    )


def test_several_processes_are_said(screen: Any, clock: Callable[[float], None]) -> None:
    from dataclasses import replace

    whole = replace(STARTED, processes=2, deepspeed="zero3", trainable=140_000_000, method="full")
    made, _ = run([whole], screen, clock, 1.0, width=200)
    assert made.lines[0] == "smollm2-135m, full, cpu float32, 2 processes, DeepSpeed zero3: 140,000,000 parameters trained (100 %)"


def test_a_check_is_one_line_and_its_weights_are_named_at_the_end(screen: Any, clock: Callable[[float], None]) -> None:
    from dataclasses import replace

    first = Checked(step=40, total=100, loss=1.2041, cases=64, right=38, calls=(30, 48), best=True)
    second = Checked(step=80, total=100, loss=None, cases=64, right=12, calls=(0, 0), best=False)
    kept = replace(SUMMARY, method="full", kept={"step": 40}, peak_gpu_mb=512.0)
    made, out = run([first, second, TrainingFinished(summary=kept)], screen, clock, 1.0, width=200)
    assert made.lines[:2] == [
        "check at step 40: held-out loss 1.204, 38 of 64 cases right, 30 of 48 calls; the best so far",
        "check at step 80: 12 of 64 cases right",
    ]
    assert "peak memory 2,346 MB, of the GPU 512 MB\n" in out
    assert out.endswith("model: runs/a, the weights of step 40, the best check\n")


def test_on_a_terminal_steps_are_one_line_that_is_written_again(screen: Any, clock: Callable[[float], None]) -> None:
    events: list[TrainingEvent] = [step(1), step(2), Notice(text="note"), step(3)]
    made, _ = run(events, screen, clock, 1.0, width=80, terminal=True)
    assert made.raw.count("step ") == 3
    last = [line.split("\r")[-1].rstrip() for line in made.lines]
    assert last == ["note", ""]  # the tail is taken back; what stays is the note
    assert "\x1b" not in made.raw


def test_steps_that_come_too_fast_are_left_out_but_never_the_last(screen: Any, clock: Callable[[float], None]) -> None:
    made, _ = run([step(number) for number in range(1, 101)], screen, clock, 0.02, width=80, terminal=True)
    shown = [int(found) for found in re.findall(r"step (\d+)/100", made.raw)]
    assert 15 <= len(shown) <= 25
    assert shown[0] == 1
    assert shown[-1] == 100


def test_an_interrupted_run_says_how_to_go_on(screen: Any, clock: Callable[[float], None]) -> None:
    from dataclasses import replace

    _, out = run([TrainingFinished(summary=replace(SUMMARY, interrupted=True, steps=7))], screen, clock, 1.0)
    assert out.startswith("stopped after step 7; the same command with --resume goes on\n")


def test_an_event_told_by_a_signal_handler_waits_for_the_one_that_is_written() -> None:
    seen: list[str] = []

    def handle(event: str) -> None:
        seen.append(f"{event} begins")
        if event == "step":
            queued("notice")
        seen.append(f"{event} ends")

    queued = Queued(handle)
    queued("step")
    assert seen == ["step begins", "step ends", "notice begins", "notice ends"]


def test_a_handler_that_fails_can_be_told_again() -> None:
    failures = [True, False]

    def handle(event: int) -> None:
        if failures.pop(0):
            raise ValueError

    queued = Queued(handle)
    with pytest.raises(ValueError):
        queued(1)
    queued(2)
    assert not failures


def test_an_evaluation_counts_cases_and_tells_the_time_left(screen: Any, clock: Callable[[float], None]) -> None:
    made = screen(width=80)
    with evaluation_screen(made.console) as on:
        for done in (116, 132, 148, 400):  # 100 were judged by an earlier run
            on(CasesScored(done=done, total=400, right=done // 2 if done == 148 else None))
            clock(16.0)
            if done == 132:
                on(Generating(characters=12345))
                clock(16.0)
    assert made.lines == [
        "[=====               ] 116/400 cases",
        "[======              ] 132/400 cases  4 min 28 s left",  # a second a case
        "[======              ] 132/400 cases  4 min 28 s left  writing: 12,345 characters",
        "[=======             ] 148/400 cases  50 % right (42–58)  6 min 18 s left",  # one and a half
        "[====================] 400/400 cases",
        "",
    ]


def test_a_conversion_tells_how_far_it_is(screen: Any, clock: Callable[[float], None]) -> None:
    made = screen(width=80)
    with convert_screen(made.console) as on:
        on(Detected(file="a\x1b.jsonl", source="msagent", reason="think"))
        on(Progress(records=1000, samples=990, rejects=10, bytes_done=50, bytes_total=200))
        clock(59)
        on(Progress(records=1500, samples=1480, rejects=20, bytes_done=100, bytes_total=200))
        clock(61)
        on(Progress(records=2000, samples=1980, rejects=20, bytes_done=150, bytes_total=200))
        clock(122)
        on(Progress(records=6000, samples=5980, rejects=20, bytes_done=100, bytes_total=None))
    assert made.lines == [
        "a\\x1b.jsonl: read as msagent (think)",
        "[=====               ] 25 %  1,000 records, 990 samples, 10 rejects",
        "[===============     ] 75 %  2,000 records, 1,980 samples, 20 rejects  17 a second  40 s left",
        "6,000 records, 5,980 samples, 20 rejects  25 a second",
        "",
    ]


def report(**fields: Any) -> ConvertReport:
    """Twenty records, of which two were refused."""
    given: dict[str, Any] = {
        "records": 20, "whole": 18, "refused": 2, "trajectories": 20, "samples": 18, "rejects": 2, "reasons": {"json": 1, "[red]": 1},
        "outputs": (FileReport(name="out.jsonl", records=18),),
    }  # fmt: skip
    return ConvertReport(out="out.jsonl", source="msagent", protocol="react", to="sample", job="j", **{**given, **fields})


def test_the_closing_table_of_a_conversion_adds_up(screen: Any) -> None:
    made = screen(width=80)
    convert_table(report(), made.console)
    rows = {line.rsplit(None, 1)[0].strip(): line.rsplit(None, 1)[1] for line in made.lines if line and line.rsplit(None, 1)[-1].isdigit()}
    assert (rows["records in"], rows["samples out"], rows["rejects"], rows["json"], rows["[red]"]) == ("20", "18", "2", "1", "1")
    assert made.text.endswith("out.jsonl: 18 records\nwhy some were refused: out.rejects.jsonl\n")


def test_a_conversion_with_nothing_usable_says_where_to_look(screen: Any) -> None:
    made = screen(width=80)
    convert_table(report(whole=0, refused=20, samples=0, rejects=20, reasons={"json": 20}, outputs=()), made.console)
    assert made.text.endswith("nothing usable; see out.rejects.jsonl\n")
    made = screen(width=80)
    convert_table(report(checked_only=True, outputs=()), made.console)
    assert "out.rejects.jsonl" not in made.text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min"), (-3, "0 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_bars() -> None:
    assert bar(0, 10) == "[" + " " * 20 + "]"
    assert bar(5, 10) == "[" + "=" * 10 + " " * 10 + "]"
    assert bar(11, 10) == "[" + "=" * 20 + "]"
    assert bar(0, 0) == "[" + " " * 20 + "]"


def test_the_tail_fits_its_line_and_is_taken_back_whole(screen: Any) -> None:
    made = screen(width=20, terminal=True)
    tail = StatusLine(made.console)
    tail.show("天" * 30 + "\x1b[2J")
    tail.clear()
    assert made.raw == "天" * 9 + "\r" + " " * 19 + "\r"
    assert cut("a天b", 2) == "a"
    assert cut("a天b", 3) == "a天"


def test_no_tail_where_it_could_not_be_taken_back(screen: Any) -> None:
    made = screen()
    StatusLine(made.console).show("thinking")
    assert made.raw == ""
    Ticker(made.console).say("\x1b[2J[red]x", style="red")
    assert made.raw == "\\x1b[2J[red]x\n"


def test_the_end_says_what_sharing_saved_by_cause() -> None:
    saved = {"system": 50_000, "history": 0, "branches": 9_000, "tail": 1_000}
    lines = list(summary_lines(replace(SUMMARY, saved=saved)))
    said = "50,000 tool lists and requests, 9,000 branches of other samples, 1,000 behind the last trained token"
    assert f"shared: 100,000 tokens, 40,000 computed (60 % saved: {said})" in lines
    assert len(list(summary_lines(SUMMARY))) == len(lines) - 1
