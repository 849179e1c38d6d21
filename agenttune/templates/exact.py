"""Exactly what a chat template writes, as pieces: filled from skeletons, and compared with the template's own text every time."""

from __future__ import annotations

from collections.abc import Sequence

from agenttune.errors import Refusal
from agenttune.templates.base import Piece
from agenttune.templates.messages import Row, Shape, TemplateMessage, row_of, shape_of
from agenttune.templates.skeleton import Learner, Skeleton


class ExactWriter:
    """Messages to pieces. It learns the shapes it meets, and holds nothing of a conversation.

    Every prompt and every answered conversation is compared with the template's text when its shape is met for the first time, the whole
    text every time.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self._verified: set[tuple[Shape, bool]] = set()

    def pieces(self, messages: Sequence[TemplateMessage], generate: bool) -> list[Piece]:
        """The pieces of a conversation. Raises `Refusal`; its code says what the template does to it."""
        found = self._filled(messages, generate)
        shape = shape_of(messages)
        if (shape, generate) not in self._verified:
            said = self.learner.skeleton(shape, generate).said
            for index, message in enumerate(messages):
                if message.kind == "output" and message.turn in said:
                    self._verify(messages[:index], True)
                    self._verify(messages[: index + 1], False)
            self._verified.add((shape, generate))
        return found

    def skeleton(self, messages: Sequence[TemplateMessage], generate: bool) -> Skeleton:
        """What is known of a conversation of this shape. Raises `Refusal`."""
        return self.learner.skeleton(shape_of(messages), generate)

    def _filled(self, messages: Sequence[TemplateMessage], generate: bool) -> list[Piece]:
        """The pieces, whose text is the template's own; a `Refusal` (``template_differs``) where it is not."""
        rows: list[Row] = []
        texts: list[str] = []
        for message in messages:
            row, own = row_of(message)
            rows.append(row)
            texts += own
        skeleton = self.learner.skeleton(tuple(rows), generate)
        found = [one.filled(texts) for one in skeleton.segments]
        truth = self._truth(messages, generate)
        if skeleton.asked:  # the prompt is compared as a conversation of its own
            self._filled(messages[:-1], True)
            same = truth.endswith("".join([piece.text for piece in found[skeleton.asked :]]) + skeleton.rest)
        else:
            ours = "".join([piece.text for piece in found])
            same = truth.startswith(ours) and not (generate and len(truth) != len(ours))
        if not same:
            raise _difference(messages, truth)
        return found

    def _truth(self, messages: Sequence[TemplateMessage], generate: bool) -> str:
        try:
            return self.learner.write([{"role": one.role, "content": one.content, **one.fields()} for one in messages], generate)
        except ValueError as error:
            raise Refusal("template_refuses", str(error)) from error

    def _verify(self, messages: Sequence[TemplateMessage], generate: bool) -> None:
        key = (shape_of(messages), generate)
        if key not in self._verified:
            self._filled(messages, generate)
            self._verified.add(key)


def _difference(messages: Sequence[TemplateMessage], truth: str) -> Refusal:
    """Why the template's text is not what its shape says: a content that is gone, or not where it belongs, or something else."""
    at = 0
    for one in messages:
        content = one.content.strip()
        place = truth.find(content, at)
        if place < 0:
            code, said = ("content_moved", "moves") if content in truth else ("content_dropped", "changes or leaves out")
            return Refusal(code, f"the template {said} what the {one.role} says in turn {one.turn + 1}", content)
        at = place + len(content)
    return Refusal("template_differs", "the template writes this conversation otherwise than others of its shape")
