"""Between the Trainer's loop and whoever watches it: step records, time left, and a Ctrl-C that ends the run between two Packs."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from agenttune.errors import UserError
from agenttune.training import train_log
from agenttune.training.events import Notice, StepLogged, TrainingEvent
from agenttune.training.steps import StepTotals
from agenttune.training.train_log import LogRecord
from agenttune.training.trainer import PackSampler
from agenttune.values.pack import Pack

RECENT = 20  # steps over which speed is averaged


class StopRequest:
    """Whether somebody asked the run to end. The first signal asks; a second one ends at once."""

    def __init__(self, say: Callable[[TrainingEvent], None]) -> None:
        self.asked = False
        self._say = say

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes Ctrl-C and a polite kill until the block ends (in the main thread; elsewhere signals cannot be had)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self._hear) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._say(Notice(text="stopping: a checkpoint is saved after this Pack (again to stop at once)"))

    def agreed(self, world: int, device: torch.device) -> bool:
        """Whether any rank was asked; all ranks answer alike."""
        if world == 1:
            return self.asked
        flag = torch.tensor(int(self.asked), device=device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag)


class TrainLogCallback(TrainerCallback):  # type: ignore[misc]
    """Writes one record a step to ``train_log.jsonl`` and says it; ends the run where `stop` asks.

    `records` and `checks` are those of the log that a resumed run keeps; both grow. A record counts what all ranks did, by `steps`.
    """

    def __init__(
        self,
        folder: Path,
        stop: StopRequest,
        say: Callable[[TrainingEvent], None],
        steps: StepTotals,
        sampler: PackSampler,
        records: list[LogRecord],
        checks: list[LogRecord],
    ) -> None:
        self.folder, self.stop, self.say, self.steps, self.sampler = folder, stop, say, steps, sampler
        self.records, self.checks = records, checks
        self.saved: Counter[str] = Counter()
        self.recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self.begun = time.perf_counter()
        self.ended = False
        self.largest = 0  # tokens of a Pack
        self._file: IO[str] | None = None
        self._behind = False  # whether the log lacks records

    def count_pack(self, pack: Pack) -> None:
        """A Pack of the running step has been trained on."""
        self.saved.update(pack.shared.saved)
        self.largest = max(self.largest, len(pack.token_ids))

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Opens the log behind what a resumed run keeps of it."""
        if state.is_world_process_zero:
            train_log.write_log(self.folder, [*self.checks, *self.records])
            self._file = open(self.folder / train_log.LOG, "a", encoding="utf-8")  # noqa: SIM115  closed in on_train_end
        self.begun = time.perf_counter()

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tells the sampler which epoch it is; a resumed run begins in the middle of one."""
        self.sampler.epoch = state.global_step // self.steps.per_epoch

    def on_substep_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ends between the Packs of a step: what it did of that step is thrown away, and a resumed run repeats it."""
        self._end_if_asked(args, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ends at a step's border; the last step is always logged."""
        self._end_if_asked(args, control)
        if self.ended or state.global_step >= state.max_steps:
            control.should_log = True

    def _end_if_asked(self, args: TrainingArguments, control: TrainerControl) -> None:
        if not self.ended and self.stop.agreed(args.world_size, args.device):
            self.ended = control.should_save = control.should_training_stop = True

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        """A logged step: its record and its event."""
        if not logs or "loss" not in logs:
            return
        now = time.perf_counter()
        last = self.records[-1]["step"] if self.records else 0
        parts = [self.steps.totals(step) for step in range(last + 1, state.global_step + 1)]
        samples, total, computed, supervised = (sum(one) for one in zip(*parts, strict=True))
        seconds, norm = now - self.begun, float(logs.get("grad_norm") or 0.0)
        self.begun = now
        self.recent.append((seconds, total))
        record = {
            "step": state.global_step,
            "epoch": round(float(state.epoch or 0), 4),
            "loss": logs["loss"],
            "learning_rate": logs.get("learning_rate", 0.0),
            "grad_norm": norm if math.isfinite(norm) else None,
            "seconds": round(seconds, 4),
            "samples": samples,
            "tokens_total": total,
            "tokens_computed": computed,
            "tokens_supervised": supervised,
            "saved": dict(self.saved),
        }
        self.saved.clear()
        self.records.append(record)
        self.write(record)
        self._say(state, record, state.global_step - last)

    def write(self, record: LogRecord) -> None:
        """A record as a line of the log. One that a full disk has no room for is written with a later one."""
        if self._file is None:
            return
        try:
            if self._behind:
                self._file.close()
                train_log.write_log(self.folder, [*self.checks, *self.records])
                self._file = open(self.folder / train_log.LOG, "a", encoding="utf-8")  # noqa: SIM115  closed in on_train_end
            else:
                self._file.write(json.dumps(record) + "\n")
                self._file.flush()
            self._behind = False
        except (OSError, ValueError, UserError) as error:
            if not self._behind:
                self.say(Notice(text=f"the log could not be written ({error}); the run goes on"))
            self._behind = True

    def _say(self, state: TrainerState, record: LogRecord, steps: int) -> None:
        spent = sum(seconds for seconds, _ in self.recent)
        each = spent / (len(self.recent) * steps)
        self.say(
            StepLogged(
                step=record["step"],
                total=state.max_steps,
                loss=record["loss"],
                learning_rate=record["learning_rate"],
                grad_norm=record["grad_norm"] or 0.0,
                tokens_per_second=sum(tokens for _, tokens in self.recent) / max(spent, 1e-9),
                seconds_left=each * (state.max_steps - record["step"]),
            )
        )

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Closes the log."""
        self.close()

    def close(self) -> None:
        """Closes the log, also after an error."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk did not take
                self._file.close()
            self._file = None
