"""transformers' own reporters (TensorBoard, wandb, trackio, …), kept from ending a run; one that cannot begin ends it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from agenttune.errors import UserError
from agenttune.training.events import Notice, TrainingEvent

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainingArguments


class GuardedReporter:
    """One reporter. Where it fails at the beginning a person must act; later it is left out, and the run goes on.

    It stands for the callback at all its events, which transformers calls by name.
    """

    def __init__(self, name: str, inner: TrainerCallback, say: Callable[[TrainingEvent], None]) -> None:
        self._name, self._inner, self._say = name, inner, say
        self._ended = False

    def __getattr__(self, event: str) -> Callable[..., Any]:
        if not event.startswith("on_"):
            raise AttributeError(event)
        return partial(self._call, event)

    def _call(self, event: str, *given: Any, **named: Any) -> Any:
        if self._ended:
            return None
        try:
            return getattr(self._inner, event)(*given, **named)
        except Exception as error:  # packages of others, each with errors of its own: a log is not worth the run
            said = _said(error)
            if event in ("on_init_end", "on_train_begin"):
                raise UserError(f"trainer.report_to: {self._name} could not begin: {said}") from error
            self._ended = True
            self._say(Notice(text=f"{self._name} could not be told any more ({said}); the run goes on without it"))
        return None


def make_reporters(arguments: TrainingArguments) -> list[TrainerCallback]:
    """The reporters that `arguments` name, one by one; none is left for the Trainer to make. Raises `UserError` for one that cannot be."""
    from transformers.integrations import get_reporting_integration_callbacks

    found = []
    for name in arguments.report_to:
        try:
            found += [kind() for kind in get_reporting_integration_callbacks([name])]
        except Exception as error:  # packages of others, each with errors of its own
            raise UserError(f"trainer.report_to: {name} could not begin: {_said(error)}") from error
    arguments.report_to = []
    return found


def guard_reporters(callbacks: Sequence[TrainerCallback], say: Callable[[TrainingEvent], None]) -> list[TrainerCallback | GuardedReporter]:
    """The callbacks with each reporter among them inside a `GuardedReporter`."""
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    names = {kind: name for name, kind in INTEGRATION_TO_CALLBACK.items()}
    return [GuardedReporter(names[type(one)], one, say) if type(one) in names else one for one in callbacks]


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
