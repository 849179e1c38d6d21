"""A person at a terminal: what is drawn where, and what the keys do. The model is scripted, and slow where it matters."""

from __future__ import annotations

import json
import re
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.cells import cell_len

from agenttune.screens.chat.live.bar import BarState, bar
from agenttune.screens.chat.live.drawing import FRAME
from agenttune.screens.chat.live.markdown import MarkdownBlock, rendered
from agenttune.screens.chat.live.screen import LiveScreen
from agenttune.values.trajectory_json import trajectory_from_json
from tests.screens.chat.terminal import Grid, Terminal, chat_command

TOOLS = '''
import time

from agenttune.agent.toolbox import effect


@effect("read")
def page(lines: int) -> str:
    """A stranger's page."""
    return "\\n".join(f"row {n} \\x1b[2J[bold]x[/bold] 天气 😀" for n in range(lines))


@effect("read")
def waits(seconds: float) -> str:
    """Waits."""
    time.sleep(seconds)
    return "waited"


@effect("write")
def writes(text: str) -> str:
    """Changes something."""
    return "written"


@effect("write")
def sends(text: str) -> str:
    """Changes something else."""
    return "sent"
'''
PAGE = 'Thought: I read 天 😀 [bold]x[/bold].\nAction: page\nAction Input: {"lines": 20}'
WAITS = 'Action: waits\nAction Input: {"seconds": 3}'
MARKDOWN = "Final Answer: It is **3** and `code`.\n\n- one\n- two [link](http://x)\n\n```\nprint(1)\n\nprint(2)\n```\n\n天气 😀."
LONG = "Final Answer: " + "word " * 2000
Open = Callable[..., Terminal]


def writing(tool: str, text: str) -> str:
    """A call of a tool that changes something."""
    return f'Action: {tool}\nAction Input: {{"text": "{text}"}}'


@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Open]:
    """``sit(replies, *arguments, delay=…, environment={…})``: a chat on a terminal, ready to be typed at."""
    (tmp_path / "helpers.py").write_text(TOOLS)
    open_ones: list[Terminal] = []

    def start(
        replies: list[str], *arguments: str, environment: dict[str, str] | None = None, rows: int = 40, columns: int = 90, **more: Any
    ) -> Terminal:
        command = chat_command(tmp_path, replies, "--tools", f"{tmp_path}/helpers.py", "--trust", *arguments, **more)
        around = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path), **(environment or {})}
        terminal = Terminal(command, around, rows=rows, columns=columns)
        open_ones.append(terminal)
        terminal.until(lambda grid: grid.lines[-1:] == [">"])
        return terminal

    yield start
    for one in open_ones:
        one.__exit__()


def session(tmp_path: Path) -> Any:
    """The trajectories of the one session that was kept."""
    (path,) = (tmp_path / "state" / "agenttune" / "sessions").iterdir()
    return [trajectory_from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_what_is_typed_while_it_works_stays_at_the_bottom_and_waits_or_steers(sit: Open, tmp_path: Path) -> None:
    terminal = sit([WAITS, "Final Answer: steered.", "Final Answer: queued."], delay=0.005)
    terminal.press("wait\r")
    terminal.expect("running waits")
    terminal.press("later 天\r")
    terminal.press("half a line")
    terminal.until(lambda grid: grid.lines[-1:] == ["> half a line"])
    assert "next: later 天" in terminal.grid.lines
    terminal.press("\x15now this\x14")  # Ctrl-U clears the line, Ctrl-T steers
    terminal.until(lambda grid: "next: now this" in grid.lines)
    terminal.until(lambda grid: "answer   queued." in grid.text and grid.lines[-1:] == [">"])
    text = terminal.grid.text
    order = ["you      wait", "waited", "steered: your words come next", "you      now this", "steered.", "you      later 天", "queued."]
    assert [text.index(one) for one in order] == sorted(text.index(one) for one in order)
    assert "half a line" not in text  # what was typed was never printed into the output
    terminal.press("\x04")
    assert terminal.ended() == 0
    (kept,) = session(tmp_path)
    assert [(one.user, one.stop) for one in kept.rounds] == [("wait", "steered"), ("now this", "answer"), ("later 天", "answer")]
    assert kept.rounds[0].steps[0].observations[0].text == "waited"


@pytest.mark.slow
def test_steering_under_hermes_keeps_the_steps_of_the_steered_round(sit: Open, tmp_path: Path) -> None:
    call = '<tool_call>\n{"name": "waits", "arguments": {"seconds": 2}}\n</tool_call>'
    terminal = sit([call, "New 天.", "After."], "--protocol", "hermes", delay=0.005)
    terminal.press("wait\r")
    terminal.expect("running waits")
    terminal.press("now this\x14")  # Ctrl-T
    terminal.until(lambda grid: "says     New 天." in grid.text and grid.lines[-1:] == [">"])
    assert "steered: your words come next" in terminal.grid.text
    assert "left out" not in terminal.grid.text
    terminal.press("and?\r")
    terminal.expect("says     After.")
    terminal.press("\x04")
    assert terminal.ended() == 0
    (kept,) = session(tmp_path)
    assert [(one.user, one.stop, len(one.steps)) for one in kept.rounds] == [
        ("wait", "steered", 1),
        ("now this", "answer", 1),
        ("and?", "answer", 1),
    ]
    assert kept.rounds[0].steps[0].observations[0].text == "waited"


@pytest.mark.slow
def test_a_program_that_is_killed_in_the_middle_of_a_round_has_kept_its_finished_steps(sit: Open, tmp_path: Path) -> None:
    terminal = sit([PAGE, writing("writes", "天"), WAITS, LONG], "--allow", "writes", delay=0.002)
    terminal.press("do all of it\r")
    terminal.expect("running waits")
    terminal.process.kill()  # SIGKILL: nothing of it runs any more
    terminal.process.wait()
    (kept,) = session(tmp_path)
    assert [(one.user, one.stop) for one in kept.rounds] == [("do all of it", "interrupted")]
    page, wrote, waits = kept.rounds[0].steps
    assert page.observations[0].text.startswith("row 0")
    assert wrote.observations[0].text == "written"
    assert [(one.text, one.error) for one in waits.observations] == [("Error: the session ended before this call was answered", True)]
    again = sit(["Final Answer: Going on."], "--resume")
    again.expect("1 round; /show shows the last")
    again.press("/show\r")
    again.expect("the session ended before this call was answered")
    assert "written" in again.grid.text and "do all of it" in again.grid.text
    again.press("go on\r")
    again.expect("answer   Going on.")
    again.press("\x04")
    assert again.ended() == 0
    (kept,) = session(tmp_path)
    assert [(one.user, one.stop, len(one.steps)) for one in kept.rounds] == [("do all of it", "interrupted", 3), ("go on", "answer", 1)]


@pytest.mark.slow
def test_a_call_is_one_line_a_result_three_and_an_answer_markdown(sit: Open) -> None:
    terminal = sit([PAGE, MARKDOWN], delay=0.002)
    terminal.press("read\r")
    terminal.until(lambda grid: "天气 😀." in grid.text and grid.lines[-1:] == [">"])
    lines = terminal.grid.text.split("\n")
    at = lines.index('call     page {"lines": 20}')
    assert lines[at - 1] == "thought  I read 天 😀 [bold]x[/bold]."
    assert lines[at + 1].endswith(" s) row 0 \\x1b[2J[bold]x[/bold] 天气 😀")
    assert lines[at + 2 : at + 4] == [f"         row {n} \\x1b[2J[bold]x[/bold] 天气 😀" for n in (1, 2)]
    assert "more characters (Ctrl-O shows all)]" in lines[at + 4]
    assert lines[at + 5].startswith("answer   It is 3 and code.")
    assert "          • two link (http://x)" in lines
    assert "print(1)" in terminal.grid.text and "```" not in terminal.grid.text
    assert not any("row 9" in line for line in lines)
    terminal.press("\x0f")  # Ctrl-O
    terminal.expect("row 19")
    assert not [one for one in terminal.raw.split("row 0")[1:] if one.startswith(" \x1b[2J")]
    assert terminal.raw.count("It is ") <= 40  # the tail was drawn again and again, what is above it never


@pytest.mark.slow
def test_ctrl_c_stops_the_token_then_the_tool_then_the_line_and_twice_leaves(sit: Open, tmp_path: Path) -> None:
    terminal = sit([LONG, 'Action: waits\nAction Input: {"seconds": 60}', "Final Answer: Here."], delay=0.005)
    terminal.press("stream\r")
    terminal.expect("word word word")
    terminal.press("\x03\x03\x03")  # a person who means it once
    terminal.expect("stopped")
    terminal.settle(0.6)
    terminal.press("tool\r")
    terminal.expect("running waits")
    terminal.settle(2.2)
    terminal.press("\x03")
    terminal.until(lambda grid: grid.text.count("stopped") == 2)
    terminal.settle(2.2)
    terminal.press("a line")
    terminal.until(lambda grid: grid.lines[-1:] == ["> a line"])
    terminal.press("\x03")
    terminal.until(lambda grid: grid.lines[-1:] == [">"])
    terminal.press("still here?\r")
    terminal.expect("answer   Here.")
    terminal.until(lambda grid: grid.lines[-1:] == [">"])
    terminal.settle(2.2)
    terminal.press("\x03")
    terminal.expect("(Ctrl-C again or Ctrl-D leaves")
    terminal.press("\x03")
    assert terminal.ended() == 130
    (kept,) = session(tmp_path)
    assert [one.user for one in kept.rounds] == ["tool", "still here?"]
    assert kept.rounds[0].steps[0].observations[0].text == "Error: stopped by the user"


@pytest.mark.slow
def test_a_call_that_changes_something_asks_and_takes_five_kinds_of_answer(sit: Open, tmp_path: Path) -> None:
    replies = [writing("writes", "a"), "Final Answer: 1.", writing("writes", "b"), "Final Answer: 2.", writing("writes", "c")]
    replies += ["Final Answer: 3.", writing("writes", "d"), writing("sends", "e"), writing("sends", "f"), "Final Answer: 4."]
    terminal = sit([PAGE, "Final Answer: read.", *replies])
    terminal.press("read\r")
    terminal.expect("answer   read.")
    assert "allow?" not in terminal.grid.text  # reading asks nobody
    for question, said, seen, answer in (
        ("one", "yes", "written", "1."),
        ("two", "no, because it is mine", "the person said no: because it is mine", "2."),
        ("three", "always", "written", "3."),
    ):
        terminal.press(f"{question}\r")
        terminal.until(lambda grid: grid.lines[-1:] == ["allow?"])
        terminal.press("kept \x15")
        terminal.press(f"{said}\r")
        terminal.expect(f"answer   {answer}")
        assert seen in terminal.grid.text.split(f"you      {question}")[1]
        terminal.until(lambda grid: grid.lines[-1:] == [">"])
    asked = terminal.grid.text.count("run it?")
    terminal.press("four\r")
    terminal.until(lambda grid: grid.lines[-1:] == ["allow?"])
    terminal.expect('with     {"text": "e"}')  # the tool that is always allowed did not ask again
    terminal.press("all\r")
    terminal.expect("answer   4.")
    assert terminal.grid.text.count("run it?") == asked + 1


@pytest.mark.slow
def test_a_half_typed_line_comes_back_after_a_question_for_permission(sit: Open) -> None:
    terminal = sit([writing("writes", "a"), "Final Answer: Done."], delay=0.02)
    terminal.press("go\rhalf a thought")  # at once: typed after the question it would be its answer
    terminal.until(lambda grid: grid.lines[-1:] == ["allow?"])
    terminal.press("yes\r")
    terminal.until(lambda grid: "Done." in grid.text and grid.lines[-1:] == ["> half a thought"])


@pytest.mark.slow
def test_history_search_lines_pastes_editor_and_completion(sit: Open, tmp_path: Path) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nprintf "edited 天\\nline" > "$1"\n')
    editor.chmod(0o755)
    around = {"EDITOR": str(editor), "VISUAL": str(editor)}
    done = [f"Final Answer: {n}." for n in range(9)]
    terminal = sit(done, environment=around)
    terminal.press("an old question\r")
    terminal.expect("answer   0.")
    terminal.press("\x1b[200~pasted\nof two lines\x1b[201~\r")
    terminal.expect("answer   1.")
    terminal.press("first\x1b\rsecond\r")
    terminal.expect("answer   2.")
    terminal.press("\x07")  # Ctrl-G
    terminal.until(lambda grid: grid.lines[-2:] == ["> edited 天", "  line"])
    terminal.press("\r")
    terminal.expect("answer   3.")
    terminal.press("/edi\t")
    terminal.until(lambda grid: "> /edit" in grid.lines)
    terminal.press("\r")
    terminal.expect("edited: the conversation goes on from this")
    terminal.press("\x04")
    assert terminal.ended() == 0
    (kept,) = session(tmp_path)
    assert [one.user for one in kept.rounds] == ["an old question", "pasted\nof two lines", "first\nsecond", "edited 天\nline"]
    assert kept.rounds[-1].steps[-1].answer == "edited 天\nline"
    history = tmp_path / "state" / "agenttune" / "chat_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    again = sit(done, environment=around)
    again.press("\x12old que")  # Ctrl-R
    again.settle(1.0)
    again.press("\r")  # accepts what was found
    again.until(lambda grid: grid.lines[-1:] == ["> an old question"])
    again.press("\r")
    again.expect("you      an old question")


@pytest.mark.slow
def test_ctrl_z_sleeps_and_a_resize_is_followed(sit: Open, tmp_path: Path) -> None:
    inner = shlex.join(chat_command(tmp_path, [LONG, "Final Answer: " + "字" * 60], "--tools", "none", delay=0.005))
    command = ["/bin/sh", "-c", f"set -m; {inner}; echo ASLEEP; sleep 1; fg; echo ENDED $?"]
    with Terminal(command, {"XDG_STATE_HOME": str(tmp_path / "state")}) as terminal:
        terminal.until(lambda grid: grid.lines[-1:] == [">"])
        terminal.press("\x1a")
        terminal.expect("ASLEEP")
        terminal.until(lambda grid: grid.lines[-1:] == [">"])
        terminal.press("stream\r")
        terminal.expect("word word")
        terminal.resize(24, 44)
        terminal.settle(1.5)
        terminal.press("\x03")
        terminal.expect("stopped")
        terminal.settle(0.6)
        terminal.press("字\r")
        terminal.until(lambda grid: grid.text.count("字") >= 61 and grid.lines[-1:] == [">"])
        rows = terminal.grid.text.split("字\n", 1)[1].split("\n")
        assert max(cell_len(line) for line in rows if "字字" in line) in (43, 44)
        terminal.press("\x04")
        terminal.expect("ENDED 0")


@pytest.mark.slow
def test_ctrl_d_while_it_writes_ends_after_what_was_written_is_kept(sit: Open, tmp_path: Path) -> None:
    """As a shell does: the end of what is typed is the end, and the conversation is there afterwards."""
    terminal = sit(["Final Answer: " + "word " * 60], delay=0.01)
    terminal.press("stream\r")
    terminal.expect("word word")
    terminal.press("\x04")
    assert terminal.ended() == 0
    assert "Traceback" not in terminal.raw
    (kept,) = session(tmp_path)
    assert kept.rounds[0].user == "stream"


@pytest.mark.slow
def test_a_window_that_gets_narrower_leaves_nothing_behind(sit: Open) -> None:
    terminal = sit([WAITS, "Final Answer: 天气 😀 " + "word " * 9], environment={"TMUX": "a terminal that wraps lines again"})
    terminal.press("half a line")
    terminal.until(lambda grid: grid.lines[-1:] == ["> half a line"])
    for columns in (60, 44, 20):
        terminal.resize(40, columns)
        terminal.settle(0.7)
    assert "no adapter" not in terminal.grid.text  # the bar as it was when there was room
    assert terminal.grid.lines[-2:] == ["0% full · 0.0 s", "> half a line"]
    terminal.press("\r")
    terminal.until(lambda grid: grid.text.count("word") == 9 and grid.lines[-1:] == [">"])
    assert max(cell_len(line) for line in terminal.grid.text.split("half a line", 1)[1].split("\n")) <= 20
    assert terminal.grid.text.count(" full") == 1


@pytest.mark.slow
def test_two_adapters_answer_one_question_and_the_session_is_trained_on(sit: Open, tmp_path: Path) -> None:
    mine = ["Final Answer: by the adapter.", "Final Answer: worse.", "Final Answer: after."]
    terminal = sit(["Final Answer: by the base."], "--adapter", "mine", adapters={"mine": mine})
    for keys, shown in (
        ("which?\r", "answer   by the adapter."),
        ("/good right so\r", "good: this round will be trained as it is"),
        ("/adapter off\r", "from now on scripted answers"),
        ("/adapter on\r", "from now on scripted + mine answers"),
        ("again\r", "answer   worse."),
        ("/bad too short\r", "bad: this round is context only"),
        ("/edit A better answer.\r", "edited: the conversation goes on"),
        ("/adaptor\r", 'there is no command /adaptor (did you mean "adapter"?)'),
        ("/trace\r", "2 rounds, 1 good, 1 bad, 1 answered by another agent too"),
        ("/context\r", "what tools answered"),
        ("/temp 0.5\r", "temperature 0.5"),
        ("/steps 3\r", "at most 3 replies"),
        ("/rewind 1\r", "back at the end of round 1"),
        ("after?\r", "answer   after."),
        (f"/export md {tmp_path}/talk.md\r", "exported as"),
        ("/sessions\r", "/load ID goes on with one"),
    ):
        terminal.press(keys)
        terminal.expect(shown)
        terminal.until(lambda grid: grid.lines[-1:] == [">"])
    text = terminal.grid.text
    assert text.startswith("scripted + mine, react, template auto, tools: ")
    assert "scripted + mine\nanswer   by the adapter.\nscripted\nanswer   by the base." in text
    terminal.press("/quit\r")
    assert terminal.ended() == 0
    talk, beside = session(tmp_path)
    assert [(one.user, one.verdict) for one in talk.rounds] == [("which?", "good"), ("after?", "")]
    assert beside.rounds[0].answered_by == "scripted"
    assert "## You\n\nwhich?" in (tmp_path / "talk.md").read_text(encoding="utf-8")


# What is drawn, counted


def test_many_words_are_few_drawings() -> None:
    with create_pipe_input() as pipe:
        live = LiveScreen(input=pipe, output=DummyOutput())
        start = time.monotonic()
        with live:
            for number in range(5000):
                live.console.out(f"word {number}", end="\n" if number % 10 == 9 else " ")
        took = time.monotonic() - start
    assert 1 <= live.drawing.drawn <= took / FRAME + 2
    assert live.output.take() == ""


def test_every_block_of_an_answer_is_laid_out_once(screen: Any) -> None:
    live = screen(terminal=True, colour="truecolor", width=60)
    drafts: list[str] = []
    block = MarkdownBlock(live.console, "answer", drafts.append)
    parts = ["# One", "two **bold** words", "```python\na = 1\n\nb = 2\n```", "- x\n- y", "| a | b |\n|---|---|\n| 1 | 2 |", "last"]
    text = "\n\n".join(parts)
    for letter in text:
        block.push(letter)
    assert block.rendered == len(parts) - 1
    block.close()
    assert block.rendered == len(parts)
    assert max(len(one.split("\n")) for one in drafts) <= 6
    assert drafts[-1] == ""
    plain = live.text
    for word in ("One", "two bold words", "a = 1", "b = 2", "• x", "last"):
        assert word in plain
    assert all(len(line) <= 60 for line in plain.split("\n"))


def test_nothing_of_an_answer_is_hidden_by_its_layout(screen: Any) -> None:
    live = screen(terminal=True, colour="truecolor", width=200)
    text = "a <b>tag</b> ![alt](http://i/p.png) [t](http://u) List<int> \x1b]8;;http://evil\x1b\\ [red]x[/red] &amp;"
    block = MarkdownBlock(live.console, "answer", lambda draft: None)
    block.push(text)
    block.close()
    assert "\x1b]" not in live.raw
    for part in ("<b>tag</b>", "http://i/p.png", "http://u", "List<int>", "\\x1b]8;;http://evil", "[red]x[/red]"):
        assert part in live.text
    assert rendered("x", live.console, 20) == ["x"]


@pytest.mark.parametrize(
    "text", ["391.", "1.", "- ", "#", "[x]: http://gone", "1. one\n3. three", "snake_case and 2*3*4", "___", "<!-- note -->"]
)
def test_what_markdown_would_swallow_stays_as_it_was_written(screen: Any, text: str) -> None:
    live = screen(terminal=True, width=60)
    shown = " ".join(rendered(text, live.console, 40))
    for word in re.findall(r"\w+", text):
        assert word in shown
    if text.endswith("."):
        assert shown == text


def test_the_bar_says_how_full_the_context_is_and_keeps_what_matters_most(setup: Any) -> None:
    from agenttune.agent.conversation import Conversation
    from agenttune.models.scripted import ScriptedModel

    conversation = Conversation(setup([], model=ScriptedModel(["Final Answer: Hi."], context=500), adapter="runs/mine"))
    conversation.ask("hi")
    state = BarState(steps=1, took=2.0, notice="900 tokens of the result were left out")
    parts = bar(conversation, state, 200)
    text = "".join(part for _, part in parts)
    assert text.startswith("scripted · mine · react · step 1/8 · ")
    assert text.endswith("2.0 s · 900 tokens of the result were left out")
    filled = conversation.filled
    share = filled / 500
    style = next(style for style, part in parts if "tokens (" in part)
    assert f"{filled}/500 tokens ({share:.0%})" in text
    assert style == ("class:full" if share >= 0.9 else "class:fuller" if share >= 0.7 else "class:bar")
    narrow = "".join(part for _, part in bar(conversation, state, 40))
    assert f"{filled}/500 tokens" in narrow and len(narrow) < 40
    assert bar(conversation, state, 5) == []
    assert "".join(part for _, part in bar(conversation, state, 20)) == f"{share:.0%} full · 2.0 s"
    long = BarState(steps=1, took=2.0, notice="天" * 60)
    wide = "".join(part for _, part in bar(conversation, long, 80))
    assert "step 1/8 · " in wide and " · 2.0 s · 天天" in wide and wide.endswith("天…") and cell_len(wide) < 80


def test_rows_of_a_narrower_window_are_counted() -> None:
    from prompt_toolkit.layout.screen import Char, Screen

    from agenttune.screens.chat.live.reflow import more_rows, wraps_again

    screen = Screen()
    for row, text in enumerate(["x" * 20, "x" * 21, "", "x" * 41, "> "]):
        for column, letter in enumerate(text):
            screen.data_buffer[row][column] = Char(letter)
    assert more_rows(screen, (2, 4), 20) == 0 + 1 + 0 + 2
    assert more_rows(screen, (45, 4), 20) == 3 + 2
    assert more_rows(screen, (2, 4), 80) == 0
    assert [wraps_again(one) for one in ({}, {"TMUX": "x"}, {"TERM_PROGRAM": "vscode"}, {"TERM_PROGRAM": "x"})] == [
        False,
        True,
        True,
        False,
    ]


def test_a_grid_shows_what_a_terminal_shows() -> None:
    grid = Grid(3, 10)
    grid.feed("one\r\ntwo 天x\r\x1b[1A\x1b[2C!\x1b[K\r\n\x1b[J\x1b[1mnew\x1b[0m\r\na\r\nb\r\n0123456789z")
    assert grid.text.split("\n") == ["on!", "new", "a", "b", "0123456789", "z"]
    assert len(grid.lines) == 3
