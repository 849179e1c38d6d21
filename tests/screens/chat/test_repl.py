"""The conversation on the screen: what is typed, what is shown, what is kept."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.cells import cell_len

from agenttune import templates
from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.agent.events import AgentEvent, RunFinished, StepMade, TextDelta, ToolAnswered, ToolCalled, TrajectoryGrown
from agenttune.agent.formats import choose
from agenttune.agent.guards import Guards
from agenttune.agent.ladder import RUNGS
from agenttune.agent.step import StepOptions
from agenttune.agent.toolbox import Toolbox, tool
from agenttune.errors import UserError
from agenttune.models.base import Prefix
from agenttune.models.scripted import ScriptedBatch, ScriptedModel
from agenttune.screens.chat.commands.table import COMMANDS
from agenttune.screens.chat.headless import answer_once
from agenttune.screens.chat.interrupts import DebouncedInterrupts
from agenttune.screens.chat.keyboard import Lines, kept_history
from agenttune.screens.chat.live.completion import ChatCompleter
from agenttune.screens.chat.live.ctrl_c import HINT
from agenttune.screens.chat.live.screen import LiveScreen
from agenttune.screens.chat.options import ChatOptions
from agenttune.screens.chat.repl import talk
from agenttune.screens.chat.session_file import SessionFile, read_session
from agenttune.screens.chat.start import chat
from agenttune.values.adapter import Card
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Observation
from agenttune.values.trajectory_json import trajectory_from_json
from tests.screens.conftest import SGR

Make = Callable[..., Agent]
CALL = 'Thought: I add.\nAction: add\nAction Input: {"left": 1, "right": 2}'
ANSWER = "Thought: I know.\nFinal Answer: It is 3."
DONE = "Final Answer: Done."


def said(lines: str | bytes, setup: Agent, screen: Any) -> str:
    """Everything on the screen after these lines were piped in."""
    data = lines.encode() if isinstance(lines, str) else lines
    assert talk(Conversation(setup), Lines(io.BytesIO(data)), screen.console) == 0
    return str(screen.text)


def nothing(event: AgentEvent) -> None:
    """Shows nothing."""


# What is shown


def test_a_call_and_an_answer_are_told_apart_without_colour(setup: Make, screen: Any) -> None:
    shown = said("1+2?\n", setup([CALL, ANSWER]), screen())
    assert "\x1b" not in shown
    body = shown.split("Ctrl-D ends\n")[1]
    assert body.split("\n")[:6] == [
        "you      1+2?",
        "thought  I add.",
        'call     add {"left": 1, "right": 2}',
        "result   3",
        "thought  I know.",
        "answer   It is 3.",
    ]
    costs = rf"2 steps, [\d,]+ prompt tokens \([\d,]+ from the prefix cache\), {len(CALL + ANSWER)} written, \d+\.\d s"
    assert re.fullmatch(costs, body.split("\n")[6])


def test_the_chinese_protocol_is_shown_alike(setup: Make, screen: Any) -> None:
    call = 'Thought:我算一下\nAction:add\nAction Input:{"left": 1, "right": 2}'
    shown = said("1+2?\n", setup([call, "Thought:知道了\nFinal Answer:是三"], protocol="react_zh"), screen())
    assert 'thought  我算一下\ncall     add {"left": 1, "right": 2}\nresult   3\nthought  知道了\nanswer   是三\n' in shown


def test_hermes_has_no_marker_for_answers_so_words_are_words(setup: Make, screen: Any) -> None:
    two = 'I add twice.\n<tool_call>\n{"name": "add", "arguments": {"left": 1, "right": 2}}\n</tool_call>\n'
    two += '<tool_call>\n{"name": "add", "arguments": {"left": 3, "right": 4}}\n</tool_call>'
    shown = said("1+2? 3+4?\n", setup([two, "<scratch_pad>\nI know.\n</scratch_pad>\n3 and 7."], protocol="hermes"), screen())
    assert (
        'says     I add twice.\ncall     add {"left": 1, "right": 2}\ncall     add {"left": 3, "right": 4}\n'
        "result   add: 3\nresult   add: 7\nthought  I know.\nsays     3 and 7.\n"
    ) in shown


def test_a_reply_that_cannot_be_read_is_shown_whole_and_says_why(setup: Make, screen: Any) -> None:
    shown = said("hi\n", setup(["I like cats."] * 3), screen())
    assert shown.count("thought  I like cats.\nunread   neither Action: nor Final Answer: begins a line\n") == 3
    assert "no answer: three replies in a row could not be read as react\n" in shown
    assert "--protocol, e.g. hermes" in shown


def test_a_call_cut_short_is_not_lost_on_the_screen(setup: Make, screen: Any) -> None:
    shown = said("hi\n", setup(["Thought: I go.\nAction: add\nand then", DONE]), screen())
    assert "call     Action: add\n         and then\nunread   no Action Input: line follows Action:\n" in shown


@pytest.mark.parametrize(
    ("more", "replies", "sentence"),
    [
        ({"max_steps": 1}, [CALL], "no answer after 1 step (--max-steps)"),
        ({"sampling": SamplingParams(max_new_tokens=24)}, [DONE * 3], "no whole answer within 24 new tokens (--max-new-tokens)"),
        ({}, [CALL] * 3, "no answer: the same call three times in a row; the third was not run"),
        ({"model": ScriptedModel([CALL], context=20)}, [], "no answer: the conversation fills the model's context of 20 tokens"),
    ],
)
def test_no_answer_says_why(setup: Make, screen: Any, more: dict[str, Any], replies: list[str], sentence: str) -> None:
    assert f"{sentence}\n" in said("1+2?\n", setup(replies, **more), screen())


def test_a_long_result_is_cut_on_the_screen_and_shown_whole_on_demand(setup: Make, screen: Any) -> None:
    rows = "\\n".join(f"row {number}" for number in range(40))
    call = f'Action: page\nAction Input: {{"text": "{rows}"}}'
    shown = said("page\n/show\n", setup([call, DONE]), screen())
    live, full = shown.split("you      /show\n")
    assert "         row 2\n         [… 252 more characters (/show)]\n" in live
    assert "row 3\n" not in live.split("result")[1]
    assert "\n         row 39\n" in full


def test_what_a_person_thought_of_a_round_and_how_it_ended_are_shown(setup: Make, screen: Any) -> None:
    shown = said("1+2?\n/bad [why] 天\n/show\n/edit It is 三.\n/show\n", setup([CALL], max_steps=1), screen())
    bad, edited = shown.split("you      /show\n")[1:]
    assert "(context only: the next step is not trained)\nthought  I add." in bad
    assert "\n(ended by max_steps)\n(judged bad: [why] 天)\n" in bad
    assert "(a person wrote this in the place of the model's answer)\nanswer   It is 三.\n(judged bad: [why] 天)\n" in edited


def test_a_failed_call_and_a_strangers_text_are_marked(setup: Make, screen: Any) -> None:
    call = 'Action: add\nAction Input: {"left": "x", "right": 2}'
    assert "\nerror    Error: " in said("1+2?\n", setup([call, DONE]), screen())


def test_text_goes_straight_out_and_nothing_is_written_twice(setup: Make, screen: Any) -> None:
    live = screen(terminal=True, colour="truecolor")
    sizes: list[int] = []
    conversation = Conversation(setup([CALL, "Final Answer: " + "word " * 60]))
    from agenttune.screens.chat.trace import Trace

    trace = Trace(live.console, conversation.agent)

    def show(event: AgentEvent) -> None:
        trace.on(event)
        sizes.append(len(live.raw))

    conversation.ask("1+2?", show)
    grown = sum(later > earlier for earlier, later in itertools.pairwise(sizes))
    assert grown > 60  # it came word by word
    assert re.sub(r"\x1b\[[0-9;]*m", "", live.raw).count("\x1b") == 0  # no cursor is moved up, nothing is erased
    assert live.text.count("I add.") == 1
    assert live.text.count("word") == 60


# Width


@pytest.mark.parametrize("width", [40, 59, 60, 100])
def test_every_line_fits_in_any_width_in_any_script(setup: Make, screen: Any, width: int) -> None:
    words = "words that are wrapped as they come, " * 6
    answer = f"Final Answer: {words}\n今天天气怎么样今天天气怎么样今天天气怎么样今天天气怎么样今天天气怎么样今天天气\n    {'x' * 150} end"
    live = screen(width=width, terminal=True)
    said("hi\n", setup([answer], sampling=SamplingParams(max_new_tokens=2000)), live)
    body = live.text[live.text.index("answer") :]
    lines = body.replace("\r", "\n").split("\n")
    assert max(cell_len(line) for line in lines) <= width
    assert "".join(words.split()) in "".join(body.split())
    assert "x" * 150 in "".join(body.split())
    margin = " " * (2 if width < 60 else 9)
    text = lines[1:] if width < 60 else lines
    end = next(number for number, line in enumerate(text) if line.endswith(" end"))
    assert end > 2
    assert all(line.startswith(margin) for line in text[1 : end + 1])


def test_a_narrow_screen_gives_the_label_a_line(setup: Make, screen: Any) -> None:
    live = screen(width=40, terminal=True)
    said("hi\n", setup([DONE]), live)
    assert "answer\n  Done.\n" in live.text


# Inert text

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[1A\x9b31m\x90q\x9c\x08\x7f\u202eabc[bold red]loud[/bold red] :smile: [link=http://x]x[/link]"
SAFE = "\\x1b]0;owned\\x07\\x1b[2J\\x1b[1A\\x9b31m\\x90q\\x9c\\x08\\x7f\\N{RIGHT-TO-LEFT OVERRIDE}abc[bold red]loud[/bold red] :smile: [link=http://x]x[/link]"


@pytest.mark.parametrize("colour", [None, "truecolor"])
@pytest.mark.parametrize("terminal", [False, True])
def test_text_of_models_tools_and_people_is_inert(setup: Make, screen: Any, colour: str | None, terminal: bool) -> None:
    call = f"Thought: {EVIL}\nAction: page\nAction Input: {json.dumps({'text': EVIL})}"
    live = screen(width=1000, colour=colour, terminal=terminal)
    said(f"{EVIL}\n/system {EVIL}\n/{EVIL}\n/show\n", setup([call, f"Final Answer: {EVIL}"]), live)
    left = live.text.replace("\r", "") if terminal else live.text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", left)
    for label in ("you", "thought", "result", "answer", "system"):
        assert f"\n{label:9}{SAFE}\n" in left


def test_a_call_of_an_unknown_tool_with_an_evil_name_is_inert(setup: Make, screen: Any) -> None:
    live = screen(width=1000, terminal=True)
    said("hi\n", setup(['Action: x\x1b[2J\nAction Input: {"a\x1b": 1}', DONE]), live)
    assert "\x1b" not in live.raw
    assert "call     x\\x1b[2J " in live.text


def test_no_text_can_fake_a_label(setup: Make, screen: Any) -> None:
    fake = "nothing\\nanswer   It is 4.\\n\\nresult   4"
    shown = said("1+2?\n", setup([f'Action: page\nAction Input: {{"text": "{fake}"}}', DONE]), screen())
    assert [line for line in shown.split("\n") if line.startswith(("answer", "result"))] == ["result   nothing", "answer   Done."]


def test_no_color_means_no_escape_at_all(setup: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from agenttune.screens import console

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    kinds = {"colour": {"TERM": "xterm-256color"}, "NO_COLOR": {"TERM": "xterm", "NO_COLOR": "1"}, "dumb": {"TERM": "dumb"}}
    seen = {}
    for name, environment in kinds.items():
        for key in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            monkeypatch.delenv(key, raising=False)
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        file = Terminal()
        talk(Conversation(setup([CALL, ANSWER])), Lines(io.BytesIO(b"1+2?\n")), console.console(file))
        seen[name] = file.getvalue()
    assert "\x1b[" in seen["colour"]
    assert "\x1b" not in seen["NO_COLOR"] + seen["dumb"]
    assert "answer   It is 3.\n" in seen["NO_COLOR"]
    assert "\r" not in seen["dumb"]


def test_a_letter_that_the_terminal_has_not_does_not_end_the_program(setup: Make) -> None:
    from agenttune.screens import console

    file = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    talk(Conversation(setup(["Final Answer: 天"])), Lines(io.BytesIO(b"hi\n")), console.console(file))
    file.flush()
    assert b"answer   ?\n" in file.buffer.getvalue()  # type: ignore[attr-defined]


# The keyboard


class Written(DummyOutput):
    """What would stand on a terminal."""

    def __init__(self) -> None:
        self.raw = ""

    def write_raw(self, data: str) -> None:
        """Keeps it."""
        self.raw += data


def typed(keys: str, setup: Agent, history: Path | None = None) -> str:
    """Everything that was written above the input line after these keys."""
    written = Written()
    with create_pipe_input() as pipe:
        live = LiveScreen(history=history, input=pipe, output=written)
        conversation = Conversation(setup)
        for number, part in enumerate(keys.split("|")):
            threading.Timer(number * 0.7, pipe.send_text, [part]).start()
        assert talk(conversation, live, live.console) == 0
    return SGR.sub("", written.raw).replace("\r\n", "\n")


def prompts_of(replies: Sequence[str]) -> tuple[list[str], Callable[[str], str]]:
    """A list that fills with the prompts, and the function that answers them."""
    seen: list[str] = []
    left = iter(replies)

    def reply(prompt: str) -> str:
        seen.append(prompt)
        return next(left)

    return seen, reply


def test_enter_sends_and_ctrl_d_ends(setup: Make, screen: Any) -> None:
    shown = typed("1+2?\r\x04", setup([CALL, ANSWER]))
    assert 'you      1+2?\nthought  I add.\ncall     add {"left": 1, "right": 2}\nresult   (' in shown
    assert re.search(r"\nresult   \(\d\.\d s\) 3\n", shown)
    assert "answer   It is 3.\n" in shown


def test_a_paste_of_many_lines_is_one_question(setup: Make, screen: Any) -> None:
    seen, reply = prompts_of([DONE])
    typed("\x1b[200~first\nsecond 天\x1b[201~ third\r\x04", setup(reply))
    assert seen[0].endswith("<|im_start|>user\nfirst\nsecond 天 third<|im_end|>\n<|im_start|>assistant\n")


def test_alt_enter_begins_a_line(setup: Make, screen: Any) -> None:
    seen, reply = prompts_of([DONE])
    typed("a\x1b\rb\r\x04", setup(reply))
    assert "user\na\nb<|im_end|>" in seen[0]


def test_commands_tools_and_paths_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "file.txt").write_text("")
    completer = ChatCompleter(COMMANDS, ["calculator", "local_search"])

    def offered(text: str) -> list[str]:
        return [one.text for one in completer.get_completions(Document(text), CompleteEvent(completion_requested=True))]

    assert offered("/s") == ["/save", "/sessions", "/show", "/stats", "/steps", "/system"]
    assert offered("/export ") == ["md", "json", "sft"]
    assert offered("/adapter o") == ["off", "on"]
    assert offered(f"/save {tmp_path}/fi") == ["le.txt"]
    assert offered("use calc") == ["calculator"]
    assert offered(f"read {tmp_path}/f") == ["ile.txt"]
    assert not offered("say so")


def test_ctrl_c_clears_a_line_and_hints_on_an_empty_one(setup: Make, screen: Any) -> None:
    seen, reply = prompts_of([DONE])
    shown = typed("wrong\x03right\r|\x03|/exit\r", setup(reply))
    assert shown.count(HINT) == 1
    assert len(seen) == 1
    assert "user\nright<|im_end|>" in seen[0]


def test_history_is_kept_for_its_owner_alone(setup: Make, screen: Any, tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    typed("first\r\x04", setup([DONE]), history=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    seen, reply = prompts_of([DONE])
    typed("|\x1b[A|\r\x04", setup(reply), history=path)  # once it is read: up, enter
    assert "user\nfirst<|im_end|>" in seen[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_history_that_cannot_be_written_is_no_reason_not_to_talk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert kept_history(tmp_path / "file" / "history").get_strings() == []


class Interrupted(SessionFile):
    """A session whose second writing is stopped by a Ctrl-C: the one after the round, since the first is within it."""

    writings = 0

    def keep(self, conversation: Conversation) -> None:
        """See `SessionFile.keep`."""
        self.writings += 1
        if self.writings == 2:
            raise KeyboardInterrupt
        super().keep(conversation)


def test_a_round_is_kept_where_ctrl_c_comes_as_it_is_written_and_a_look_writes_nothing(setup: Make, screen: Any, tmp_path: Path) -> None:
    session, conversation = Interrupted(tmp_path), Conversation(setup([DONE]))
    assert talk(conversation, Lines(io.BytesIO(b"hi\n")), screen().console, session=session) == 0
    (path,) = tmp_path.iterdir()
    (kept,) = read_session(path)
    assert [(one.user, one.stop) for one in kept.rounds] == [("hi", "answer")]
    before = path.stat().st_mtime_ns
    again = Conversation(setup([], adapter="other"))
    again.go_on([kept], keep_id=True)
    assert talk(again, Lines(io.BytesIO(b"/show\n")), screen().console, session=SessionFile(tmp_path)) == 0
    assert path.stat().st_mtime_ns == before


def test_bytes_that_are_no_text_are_one_sentence(setup: Make, screen: Any) -> None:
    shown = said(b"\xff\xfe\nhi\n", setup([DONE]), screen())
    assert "a line of standard input is not UTF-8 text (byte 0)\n" in shown
    assert "answer   Done.\n" in shown


# Ctrl-C


class Stops(ScriptedModel):
    """Ctrl-C arrives while the model computes: before `at` more tokens, once."""

    at = -1

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> ScriptedBatch:
        """See `Model.start`."""
        rows = super().start(prompts, prefixes)
        advance = rows.advance

        def stop(tokens: Sequence[int], drafts: Sequence[Sequence[int]] | None = None) -> None:
            self.at -= 1
            if self.at == 0:
                raise KeyboardInterrupt
            advance(tokens, drafts)

        rows.advance = stop  # type: ignore[method-assign]
        return rows


@pytest.mark.parametrize("at", [1, 5, 20, 40])
def test_ctrl_c_while_text_streams_stops_the_step_alone(setup: Make, screen: Any, at: int) -> None:
    model = Stops([CALL, "Final Answer: Next.", DONE])
    model.at = at
    shown = said("first\nsecond\n", setup([], model=model), screen())
    assert "\nstopped\n0 steps, " in shown
    assert shown.index("stopped") < shown.index("answer   Next.")
    partial = {1: "", 5: "", 20: "thought  I add.\n", 40: "thought  I add.\n"}[at]
    assert f"{partial}" in shown.split("stopped")[0]


def test_a_stopped_question_is_not_sent_again_unless_asked_for(setup: Make, screen: Any) -> None:
    prompts: list[str] = []

    class Records(Stops):
        def start(self, given: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> ScriptedBatch:
            prompts.extend(self.tokenizer.decode(one) for one in given)
            return super().start(given, prefixes)

    model = Records([CALL, DONE, "Final Answer: Again."])
    model.at = 10
    said("first\nsecond\n/retry\n", setup([], model=model), screen())
    assert ["first" in one for one in prompts] == [True, False, False]
    assert "second" in prompts[2]
    model = Records([CALL, DONE])
    model.at = 10
    said("first\n/retry\n", setup([], model=model), screen())
    assert "user\nfirst<|im_end|>" in prompts[-1]


def interrupted_tool(seconds: int) -> str:
    """Waits, and somebody presses Ctrl-C.

    Args:
        seconds: how long
    """
    signal.raise_signal(signal.SIGINT)
    return "never"


def test_ctrl_c_while_a_tool_runs_is_what_the_model_is_told(setup: Make, screen: Any) -> None:
    seen, reply = prompts_of(['Action: interrupted_tool\nAction Input: {"seconds": 9}', DONE])
    tools = Toolbox([tool(interrupted_tool)], inline=True)
    shown = said("wait\ngo on\n/show\n", setup(reply, toolbox=tools), screen())
    assert 'call     interrupted_tool {"seconds": 9}\nstopped\n1 step, ' in shown
    assert "Observation: Error: stopped by the user" in seen[1]
    assert "answer   Done.\n" in shown


@pytest.mark.parametrize("kind", [TextDelta, StepMade, TrajectoryGrown, ToolCalled, ToolAnswered, RunFinished])
def test_ctrl_c_while_the_screen_is_written_leaves_a_conversation_that_goes_on(setup: Make, kind: type) -> None:
    conversation = Conversation(setup([CALL, ANSWER, "Final Answer: Next.", DONE]))
    pressed = []

    def show(event: AgentEvent) -> None:
        if isinstance(event, kind) and not pressed:
            pressed.append(event)
            raise KeyboardInterrupt

    assert conversation.ask("1+2?", show) == "interrupted"
    assert pressed
    for round_ in conversation.trajectory.rounds:
        assert all(len(step.observations) == len(step.calls) for step in round_.steps)
    assert conversation.ask("and?", nothing) == "answer"
    last = conversation.trajectory.rounds[-1]
    assert last.user == "and?"
    assert last.steps[-1].answer in ("It is 3.", "Next.", "Done.")


def test_a_second_ctrl_c_at_once_does_not_end_the_program() -> None:
    caught = 0
    with DebouncedInterrupts():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            caught += 1
            signal.raise_signal(signal.SIGINT)  # while the first is handled: nothing
            signal.raise_signal(signal.SIGINT)
    assert caught == 1
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # and afterwards all is as it was


def test_a_later_ctrl_c_is_always_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttune.screens.chat.interrupts.PAUSE", 0.0)
    with DebouncedInterrupts():
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


# What is kept


def test_the_prefix_cache_is_kept_between_steps_and_rounds(setup: Make) -> None:
    conversation = Conversation(setup([CALL, ANSWER, DONE]))
    conversation.ask("1+2?", nothing)
    tokenizer = conversation.agent.model.tokenizer

    def size(text: str) -> int:
        return len(tokenizer.encode(text, special=True))

    # After the first prompt only what is new is read: the end of the output, and the observation.
    between = size("<|im_end|>\n<|im_start|>system\nObservation: 3<|im_end|>\n<|im_start|>assistant\n")
    first = conversation.last.prompt - conversation.last.read
    second = conversation.last.read - between
    assert second > 0
    assert first == second + size(CALL)  # the second prompt: the first, its output, and `between`
    conversation.ask("and?", nothing)
    assert conversation.last.read == size("<|im_end|>\n<|im_start|>user\nand?<|im_end|>\n<|im_start|>assistant\n")
    assert conversation.total.rounds == 2
    assert conversation.total.steps == 3


def test_undo_takes_a_round_back_and_retry_asks_it_again(setup: Make, screen: Any) -> None:
    seen, reply = prompts_of([DONE, "Final Answer: Two.", "Final Answer: Three.", "Final Answer: Four."])
    shown = said("one\nfour\n/undo\nthree\n/retry\n/undo\n/undo\n/undo\n", setup(reply), screen())
    assert "taken back: four\n" in shown
    assert "four" in seen[1]
    assert "four" not in seen[2]
    assert seen[3] == seen[2]
    assert "asked again: three\n" in shown
    assert "taken back: three\n" in shown
    assert "taken back: one\nyou      /undo\nthere is nothing to take back\n" in shown


def test_retry_with_nothing_asked_says_so(setup: Make, screen: Any) -> None:
    assert "nothing was asked yet\n" in said("/retry\n", setup([]), screen())


def test_reset_forgets_the_rounds_and_keeps_the_system_text(setup: Make, screen: Any) -> None:
    seen, reply = prompts_of([DONE, DONE, DONE])
    said("one\n/system Be brief.\ntwo\n/reset\nthree\n", setup(reply, system="Be kind."), screen())
    assert seen[0].startswith("<|im_start|>system\nBe kind.\n\nTools:")
    assert seen[1].startswith("<|im_start|>system\nBe brief.\n\nTools:")
    assert "user\none<|im_end|>" in seen[1]
    assert seen[2].startswith("<|im_start|>system\nBe brief.\n\nTools:")
    assert "one" not in seen[2].split("user\n")[1]


def test_save_writes_a_trajectory_that_its_owner_alone_can_read(setup: Make, screen: Any, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    shown = said(f"1+2?\n/save {path}\nmore\n/save {path}\n", setup([CALL, ANSWER, DONE], system="Be kind."), screen())
    assert shown.count(f"saved as {path}") == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (line,) = path.read_text(encoding="utf-8").splitlines()
    saved = trajectory_from_json(json.loads(line))
    assert saved.system == "Be kind."
    assert [spec.name for spec in saved.tools] == ["add", "page"]
    assert [one.user for one in saved.rounds] == ["1+2?", "more"]
    assert saved.rounds[0].steps[0].observations == (Observation(text="3"),)
    assert saved.rounds[0].steps[1].answer == "It is 3."
    assert saved.stop == "answer"


def test_save_never_replaces_what_another_wrote(setup: Make, screen: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("mine")
    shown = said(f"hi\n/save {path}\n/save {tmp_path}\n/save {path}/x\n/save\n", setup([DONE]), screen())
    assert f"{path} exists already; choose another name\n" in shown
    assert "/save needs a file name\n" in shown
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_help_names_every_command_and_an_unknown_one_is_told_the_nearest(setup: Make, screen: Any) -> None:
    shown = said("/help\n/sytem\n/tools x\n/tools\n", setup([]), screen())
    for name in ("help", "tools", "system", "model", "adapter", "steps", "temp", "undo", "retry", "edit", "rewind", "save", "load"):
        assert re.search(rf"^/{name} +\S", shown, re.MULTILINE)
    for name in ("sessions", "export", "show", "context", "tokens", "stats", "trace", "good", "bad", "quit"):
        assert re.search(rf"^/{name} *\S", shown, re.MULTILINE)
    assert 'there is no command /sytem (did you mean "system"?)' in shown
    assert "/tools takes nothing after it\n" in shown
    assert "tools    add(left: integer, right: integer)  Adds two numbers.\n         page(text: string)" in shown


def test_two_slashes_send_a_text_that_begins_with_one(setup: Make, screen: Any) -> None:
    seen, reply = prompts_of([DONE])
    said("//etc/hosts, what is it?\n", setup(reply), screen())
    assert "user\n/etc/hosts, what is it?<|im_end|>" in seen[0]


def test_an_open_round_stands_in_the_next_prompt_under_hermes_too(setup: Make, screen: Any) -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {"left": 1, "right": 2}}\n</tool_call>'
    seen, reply = prompts_of([call, "Hello."])
    shown = said("1+2?\nhello\n", setup(reply, protocol="hermes", max_steps=1), screen())
    assert "left out" not in shown
    assert seen[1].endswith(
        f"user\n1+2?<|im_end|>\n<|im_start|>assistant\n{call}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n\nhello<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_model_running_dry_is_a_sentence_and_the_conversation_goes_on(setup: Make, screen: Any) -> None:
    shown = said("one\ntwo\n/stats\n", setup([DONE]), screen())
    assert "the scripted model has said all its 1 replies and is asked for one more\n" in shown
    assert "\n1 round, 1 step, " in shown


# One question


def test_one_question_prints_the_answer_alone(setup: Make, screen: Any) -> None:
    out, trace = screen(), screen()
    conversation = Conversation(setup([CALL, "Thought: I know.\nFinal Answer: It is\n\n  3."]))
    assert answer_once(conversation, "1+2?", out.console, trace.console) == 0
    assert out.raw == "It is\n\n  3.\n"
    assert trace.lines[:4] == ["thought  I add.", 'call     add {"left": 1, "right": 2}', "result   3", "thought  I know."]
    assert "answer" not in trace.text
    assert trace.lines[4].startswith("2 steps, ")


def test_one_question_under_hermes_keeps_words_before_a_call_in_the_trace(setup: Make, screen: Any) -> None:
    out, trace = screen(), screen()
    call = 'I add.\n<tool_call>\n{"name": "add", "arguments": {"left": 1, "right": 2}}\n</tool_call>'
    assert answer_once(Conversation(setup([call, "It is 3."], protocol="hermes")), "1+2?", out.console, trace.console) == 0
    assert out.raw == "It is 3.\n"
    assert trace.lines[:3] == ["says     I add.", 'call     add {"left": 1, "right": 2}', "result   3"]


def test_an_answer_that_was_cut_is_exit_code_3_and_nothing_on_standard_output(setup: Make, screen: Any) -> None:
    out, trace = screen(), screen()
    made = setup(["Final Answer: " + "far too long " * 9], sampling=SamplingParams(max_new_tokens=40))
    assert answer_once(Conversation(made), "hi", out.console, trace.console) == 3
    assert out.raw == ""
    assert "answer   far too long far too long" in trace.text  # what there is of it is not lost
    assert "no whole answer within 40 new tokens" in trace.text


def test_one_question_stopped_is_exit_code_130(setup: Make, screen: Any) -> None:
    model = Stops([CALL])
    model.at = 3
    out, trace = screen(), screen()
    assert answer_once(Conversation(setup([], model=model)), "hi", out.console, trace.console) == 130
    assert out.raw == ""


def test_an_answer_is_inert(setup: Make, screen: Any) -> None:
    out = screen()
    answer_once(Conversation(setup([f"Final Answer: {EVIL}"])), "hi", out.console, screen().console)
    assert out.raw == f"{SAFE}\n"


def test_a_forced_answer_is_printed_says_why_and_is_exit_code_3(setup: Make, screen: Any) -> None:
    out, trace = screen(), screen()
    made = setup([CALL, "Thought: I know.\nFinal Answer: It is 3."], max_steps=2, guards=Guards())
    assert answer_once(Conversation(made), "1+2?", out.console, trace.console) == 3
    assert out.raw == "It is 3.\n"
    assert "the model must answer now (max_steps)\n" in trace.text
    assert "this answer was forced after 2 steps (--max-steps)\n" in trace.text


def test_guards_and_repairs_are_counted_in_the_statistics(setup: Make, screen: Any) -> None:
    loose = "Action: `add`\nAction Input: {left: 1, right: 2}"
    made = setup([loose, CALL, CALL, ANSWER], max_steps=3, guards=Guards(), options=StepOptions(repairs=RUNGS))
    shown = said("1+2?\n/stats\n", made, screen())
    assert "\nguards: forced_answer 1\nrepairs: relaxed_json 1\n" in shown
    assert "answer   " in shown


# How it begins


def test_what_was_assumed_is_one_sentence() -> None:
    card = Card(base="b", base_fingerprint="f", protocol="hermes", template="qwen_chat", method="lora")
    assert choose(card, None, None) == ("hermes", "qwen_chat", ())
    assert choose(card, "react", "qwen_chat") == ("react", "qwen_chat", ("--protocol react in place of the card's hermes",))
    protocol, template, (sentence,) = choose(None, None, None)
    assert (protocol, template) == ("react", "auto")
    assert "assumed the protocol react (--protocol: react, react_zh, hermes) and the tokenizer's own chat template (--template)" in sentence
    assert choose(None, "hermes", "qwen_chat") == ("hermes", "qwen_chat", ())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_steps": 0}, "--max-steps must be 1 or more, not 0"),
        ({"max_new_tokens": -1}, "--max-new-tokens must be 1 or more, not -1"),
        ({"temperature": -0.5}, "--temperature must be 0 or more, not -0.5"),
        ({"temperature": float("nan")}, "--temperature must be 0 or more, not nan"),
        (
            {"guards": Guards(observation_tokens=0)},
            "--observation-tokens must be 1 or more, --max-tokens 0 or more, and --tool-seconds more than 0",
        ),
        ({"protocol": "reakt"}, 'there is no protocol "reakt" (did you mean "react"?)'),
        ({"tools": ("calculater",)}, 'there is no tool "calculater" (did you mean "calculator"?)'),
        ({"prompt": "  "}, "the question is empty"),
        ({}, "there is no model no-such-model"),
    ],
)
def test_wrong_input_is_one_sentence_before_anything_is_loaded(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        chat(ChatOptions(model="no-such-model", **{"tools": (), **options}))


def test_a_question_that_is_no_text_is_refused(setup: Make) -> None:
    with pytest.raises(UserError, match="the question is not UTF-8 text"):
        Conversation(setup([])).ask("caf\udce9", nothing)


def test_nothing_but_the_model_is_given_to_the_template(setup: Make) -> None:
    made = setup([DONE])
    assert made.template.name == templates.load("auto", made.model.tokenizer).name
    assert made.max_steps == 8


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """For a program of its own."""
    yield {**os.environ, "XDG_STATE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_the_embedded_model_answers_once_without_a_terminal(smollm2: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "agenttune", "chat", smollm2, "--protocol", "hermes", "--tools", "none", "--max-new-tokens", "40"]
    question = "What is the capital of France?"
    for more, given in ((["-p", question], None), (["-p", "-"], question)):
        done = subprocess.run([*command, *more], input=given, capture_output=True, text=True, env=environment, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert "Paris" in done.stdout
        assert "prompt tokens" in done.stderr
    done = subprocess.run(command, input=f"{question}\n", capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"you      {question}\nsays     " in done.stdout
