"""What a person typed that nobody has taken yet: keys put it in, the main thread takes it out, and waits for it."""

from __future__ import annotations

import threading
from collections import deque


class Typed:
    """Questions in the order in which they were sent, those that steer before all others; and answers to what was asked of the person."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._questions: deque[str | BaseException] = deque()
        self._steering: deque[str] = deque()
        self._answers: deque[str] = deque()

    def question(self, text: str, *, steer: bool = False) -> None:
        """One more; with `steer` before all others."""
        with self._changed:
            (self._steering if steer else self._questions).append(text)
            self._changed.notify()

    def end(self, why: BaseException, *, first: bool = False) -> None:
        """Nothing more comes: what `next` raises, after the questions before it or (`first`) at once."""
        with self._changed:
            (self._questions.appendleft if first else self._questions.append)(why)
            self._changed.notify()

    def answer(self, text: str) -> None:
        """What was said to a question for the person."""
        with self._changed:
            self._answers.append(text)
            self._changed.notify()

    @property
    def steered(self) -> bool:
        """Whether a question wants to come before all others."""
        return bool(self._steering)

    def waiting(self) -> list[str]:
        """The questions, in the order in which they will be asked."""
        return [*self._steering, *(one for one in self._questions if isinstance(one, str))]

    def next(self) -> str:
        """Takes the next question, once there is one. Raises what ends them."""
        with self._changed:
            while not (self._steering or self._questions):
                self._changed.wait()
            one = self._steering.popleft() if self._steering else self._questions.popleft()
        if isinstance(one, BaseException):
            raise one
        return one

    def next_answer(self) -> str:
        """Takes the next answer, once there is one."""
        with self._changed:
            while not self._answers:
                self._changed.wait()
            return self._answers.popleft()

    def forget_answers(self) -> None:
        """What was said before a question is no answer to it."""
        with self._changed:
            self._answers.clear()
