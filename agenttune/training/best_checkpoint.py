"""Checks between the steps of a run: when they come, which was best, where its weights are, and whether the run should end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from agenttune.config import CheckConfig
from agenttune.owned_folders import PART, is_owned, remove_owned, seal
from agenttune.training import checkpoint, failures, validation
from agenttune.training.callbacks import TrainLogCallback
from agenttune.training.events import Checked, Notice, TrainingEvent
from agenttune.training.prepare import Prepared
from agenttune.training.train_log import LogRecord
from agenttune.training.trainer import PackTrainer
from agenttune.training.validation import CheckData, CheckResult, better


class CheckCallback(TrainerCallback):  # type: ignore[misc]
    """Checks after every `check.every` steps, before the step's checkpoint; a resumed run knows what was found before.

    All ranks check, and gather weights, alike. Found records join those of `log`. The weights of the best check are complete in
    ``best-STEP`` before older ones go, and older ones stay until a checkpoint behind them is complete: a run that is resumed from
    before a check can still fall back on them.
    """

    def __init__(
        self,
        trainer: PackTrainer,
        check: CheckConfig,
        prepared: Prepared,
        data: CheckData,
        log: TrainLogCallback,
        say: Callable[[TrainingEvent], None],
    ) -> None:
        self.trainer, self.check, self.prepared, self.data, self.log, self.say = trainer, check, prepared, data, log, say
        self.folder, self.records = Path(trainer.args.output_dir), log.checks

    def save(self, folder: Path) -> None:
        """Writes the weights as they are now into `folder`; all ranks come here."""
        self.trainer.save_model(str(folder))

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A run that ended between a step and its check makes up for it."""
        if state.global_step:
            self._step(args, state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Checks where it is time; an early end is logged and saved as any other."""
        if not control.should_training_stop or state.global_step >= state.max_steps:
            self._step(args, state, control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A checkpoint is complete: what was best before the best is needed no more."""
        best, newest = self.best(), checkpoint.newest_complete(self.folder)
        done = newest is not None and newest.name.endswith(f"-{state.global_step}")  # a full disk may have cost it
        if state.is_world_process_zero and best is not None and done:
            checkpoint.rotate_best(self.folder, [best["step"]])

    def best(self) -> LogRecord | None:
        """The record of the best check so far."""
        found: LogRecord | None = None
        for one in self.records:
            if better(one["check"], found["check"] if found else None):
                found = one
        return found

    def kept(self) -> tuple[LogRecord, Path] | None:
        """The record of the best check and the folder of its weights, where they are to be the result and could be kept."""
        best = self.best()
        folder = checkpoint.best_folder(self.folder, best["step"]) if best is not None else None
        return (best, folder) if best is not None and folder is not None and self.check.keep_best and is_owned(folder) else None

    def _step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        due = state.global_step % self.check.every == 0 or state.global_step >= state.max_steps
        if due and not any(one["step"] == state.global_step for one in self.records):
            shown = control.should_log
            self._check(args, state)
            control.should_log = shown  # logging numbers has turned it off
        if self._enough():
            control.should_training_stop = control.should_log = True

    def _check(self, args: TrainingArguments, state: TrainerState) -> None:
        found = validation.run_check(self.check, self.prepared, self.data, self.trainer)
        record = {"step": state.global_step, "check": found}
        before = self.best()
        self.records.append(record)
        best = better(found, before["check"] if before else None)
        if best and self.check.keep_best:
            self._keep(args, state)
        self.log.write(record)
        self._say(state, found, best)

    def _keep(self, args: TrainingArguments, state: TrainerState) -> None:
        folder = checkpoint.best_folder(self.folder, state.global_step)
        aside, first = folder.with_name(folder.name + PART), state.is_world_process_zero
        if first:
            remove_owned(aside)  # what a killed run left
        try:
            self.save(aside)
            if first:
                seal(aside)
                remove_owned(folder)
                aside.rename(folder)  # raises where something that is not ours has the name
        except failures.WRITE_ERRORS as error:
            if not failures.is_disk_error(error):  # of several ranks only the first writes, when all have gathered
                raise
            if first:
                remove_owned(aside)
            self.say(Notice(text=f"the best weights, of step {state.global_step}, could not be kept ({error}); the run goes on"))

    def _enough(self) -> bool:
        """Whether the last `patience` checks brought nothing better."""
        best = self.best()
        if not self.check.patience or best is None:
            return False
        return bool(sum(one["step"] > best["step"] for one in self.records) >= self.check.patience)

    def _say(self, state: TrainerState, found: CheckResult, best: bool) -> None:
        yes, asked = found.get("call", (0, 0))
        numbers = {"eval_loss": found.get("loss"), "eval_right": found["right"] / found["cases"] if found.get("cases") else None}
        self.trainer.log({name: float(one) for name, one in numbers.items() if one is not None})
        self.say(
            Checked(
                step=state.global_step,
                total=state.max_steps,
                loss=found.get("loss"),
                cases=found.get("cases", 0),
                right=found.get("right", 0),
                calls=(yes, asked),
                best=best,
            )
        )
