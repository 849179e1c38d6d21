"""What a Ctrl-C means, and the order in which what was typed is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from agenttune.screens.chat.live.ctrl_c import CtrlC
from agenttune.screens.chat.live.typed import Typed


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``at(seconds)`` sets the clock."""
    now = [0.0]
    monkeypatch.setattr("agenttune.screens.chat.live.ctrl_c.time.monotonic", lambda: now[0])

    def set_clock(seconds: float) -> None:
        now[0] = seconds

    return set_clock


def test_at_rest_a_press_clears_the_line_hints_and_the_second_leaves(at: Callable[[float], None]) -> None:
    keys = CtrlC()
    found = []
    for seconds, typed in ((0, True), (0.5, False), (3, False), (4.9, False)):
        at(seconds)
        found.append(keys.press(typed))
    assert found == ["clear", "hint", "hint", "leave"]  # the one that cleared is not the first of two


def test_a_press_stops_what_works_once_and_a_later_one_that_finds_it_working_leaves(at: Callable[[float], None]) -> None:
    keys = CtrlC()
    keys.works(True)
    found = []
    for seconds in (10, 10.1, 10.2, 11):
        at(seconds)
        found.append(keys.press(False))
    assert found == ["stop", "nothing", "nothing", "stop and leave"]
    keys.works(True)  # a new question has not been told to stop
    at(12)
    assert keys.press(True) == "stop"
    keys.works(False)
    at(12.2)
    assert keys.press(True) == "nothing"  # it belongs to the one that stopped


def test_what_steers_comes_first_and_an_end_after_what_was_sent_before() -> None:
    typed = Typed()
    typed.question("one")
    typed.question("now", steer=True)
    typed.end(EOFError())
    assert typed.steered
    assert typed.waiting() == ["now", "one"]
    assert [typed.next(), typed.next()] == ["now", "one"]
    with pytest.raises(EOFError):
        typed.next()
    typed.question("never asked")
    typed.end(KeyboardInterrupt(), first=True)
    with pytest.raises(KeyboardInterrupt):
        typed.next()


def test_an_answer_is_waited_for_and_one_from_before_the_question_is_none() -> None:
    typed = Typed()
    typed.answer("yes")
    typed.forget_answers()
    later = threading.Timer(0.1, typed.answer, ["no"])
    later.start()
    assert typed.next_answer() == "no"
    later.join()
