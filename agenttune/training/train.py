"""A training run from config to adapter. Nothing is printed: events go to the one callback that `train` is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttune.config import TrainConfig
from agenttune.training import checkpoint, output_folder, train_log
from agenttune.training.distributed import zero
from agenttune.training.events import Notice, Saved, TrainingEvent, TrainingFinished, TrainingStarted, TrainSummary
from agenttune.training.failures import as_user_errors

if TYPE_CHECKING:  # torch and transformers are imported when a run begins, after `quiet_deepspeed`
    from transformers import TrainingArguments

    from agenttune.training.best_checkpoint import CheckCallback
    from agenttune.training.callbacks import StopRequest, TrainLogCallback
    from agenttune.training.prepare import Prepared
    from agenttune.training.steps import StepTotals
    from agenttune.training.trainer import PackTrainer


def train(config: TrainConfig, *, resume: bool = False, events: Callable[[TrainingEvent], None]) -> TrainSummary:
    """Trains as `config` says and leaves the adapter (or model), its card, log, plot and summary in ``config.output``.

    `events` is called with what happens, in this process's first rank only. With `resume` an unfinished run goes on from its newest
    complete checkpoint; the losses are those of an uninterrupted run. Ctrl-C saves a checkpoint and returns a summary that says
    `interrupted`. Raises `UserError` for whatever a person must change.
    """
    run = _Run(config, resume, events)
    with output_folder.claim(run.folder, config, resume=resume), as_user_errors(config, run.largest_pack):
        return run.run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loop:
    """What runs the steps of a run: the trainer and its callbacks."""

    trainer: PackTrainer
    log: TrainLogCallback
    checks: CheckCallback | None


class _Run:
    """One run; short-lived. `first` says whether this is the rank that speaks and writes."""

    def __init__(self, config: TrainConfig, resume: bool, events: Callable[[TrainingEvent], None]) -> None:
        self.config, self.folder, self.resume, self.events = config, Path(config.output), resume, events
        self.first = True
        self.log: TrainLogCallback | None = None

    def say(self, event: TrainingEvent) -> None:
        """Hands an event on, from the first rank."""
        if self.first:
            self.events(event)

    def largest_pack(self) -> int:
        """Tokens of the largest Pack that has been trained on."""
        return self.log.largest if self.log is not None else 0

    def run(self) -> TrainSummary:
        """Prepares, trains, saves."""
        from agenttune.models.device import pick_device
        from agenttune.models.library_messages import mute_bitsandbytes

        mute_bitsandbytes()  # before the first library that imports it
        from agenttune.training.arguments import training_arguments, why_not_paged
        from agenttune.training.callbacks import StopRequest
        from agenttune.training.prepare import prepare, resolve_dtype

        device = pick_device(self.config.device)
        zero.quiet_deepspeed(device)
        measured = output_folder.measured_choices(self.folder) if self.resume else {}
        dtype = resolve_dtype(self.config, device, measured.get("dtype"))
        arguments = training_arguments(self.config, device, dtype)
        self.first = bool(arguments.should_save)
        if reason := why_not_paged(self.config, device):
            self.say(Notice(text=reason))
        prepared = prepare(self.config, device, dtype, arguments.world_size, self.say, matmul=measured.get("matmul"))
        start = self._begin(prepared.identity())
        stop = StopRequest(self.say)
        with stop.listening():
            summary = self._train(prepared, arguments, stop, start)
        zero.leave_process_group_at_exit()
        return summary

    def _begin(self, identity: dict[str, Any]) -> Path | None:
        """The checkpoint to go on from; marks the folder with what the run is made of."""
        if self.resume:
            output_folder.check_continues(self.folder, self.config, identity)
        found = checkpoint.newest_complete(self.folder) if self.resume else None
        if found is not None:
            checkpoint.refuse_damaged(found)
        if self.resume and found is None:
            self.say(Notice(text=f"{self.folder} has no complete checkpoint; the run starts over"))
        if self.first:
            checkpoint.rotate(self.folder, None)
            if self.resume:
                output_folder.adopt_unmarked_best(self.folder, train_log.read_checks(self.folder, 10**18))
            output_folder.write_run(self.folder, self.config, identity)
        return found

    def _train(self, prepared: Prepared, arguments: TrainingArguments, stop: StopRequest, start: Path | None) -> TrainSummary:
        """Runs the steps from checkpoint `start`, or from the beginning, and leaves the result."""
        from agenttune.training.steps import StepTotals

        steps = StepTotals(prepared.corpus, prepared.packing, arguments.gradient_accumulation_steps)
        done, total = checkpoint.step_of(start) if start else 0, steps.total(arguments)
        loop = self._loop(prepared, arguments, stop, steps, done)
        self.say(_started(self.config, prepared, steps, done, total))
        try:
            loop.trainer.train(resume_from_checkpoint=str(start) if start else None)
        finally:
            loop.log.close()
        return self._finish(prepared, loop, interrupted=loop.log.ended and loop.trainer.state.global_step < total)

    def _loop(self, prepared: Prepared, arguments: TrainingArguments, stop: StopRequest, steps: StepTotals, done: int) -> _Loop:
        from agenttune.training.best_checkpoint import CheckCallback
        from agenttune.training.callbacks import TrainLogCallback
        from agenttune.training.trainer import PackDataset, PackSampler, PackTrainer
        from agenttune.training.validation import load_check_data

        records, checked = train_log.read_log(self.folder, done), train_log.read_checks(self.folder, done)
        sampler = PackSampler(prepared.packing, arguments.process_index)
        log = self.log = TrainLogCallback(self.folder, stop, self.say, steps, sampler, records, checked)
        check_data = load_check_data(self.config, prepared, arguments.process_index, self.say)  # what is wrong in it is said now
        trainer = PackTrainer(
            model=prepared.model,
            args=arguments,
            data=PackDataset(prepared.corpus, prepared.packing, share=prepared.pack == "share"),
            sampler=sampler,
            tree=prepared.pack != "none",
            say=self.say,
            seen=log.count_pack,
            callbacks=[log],
            lr_ratio=self.config.lora.lr_ratio,
        )
        if self.config.check is None:
            return _Loop(trainer=trainer, log=log, checks=None)
        checks = CheckCallback(trainer, self.config.check, prepared, check_data, log, self.say)
        trainer.add_callback(checks)  # behind the log, so that a step is recorded before it is checked
        return _Loop(trainer=trainer, log=log, checks=checks)

    def _finish(self, prepared: Prepared, loop: _Loop, *, interrupted: bool) -> TrainSummary:
        from agenttune.training.result import save_result, summarise

        log = loop.log
        kept = loop.checks.kept() if loop.checks and not interrupted else None
        summary = summarise(self.config, prepared, log.records, interrupted=interrupted, kept=kept[0] if kept else None)
        if not interrupted:
            records = [*log.checks, *log.records]
            save_result(self.config, prepared, summary, records, weights=kept[1] if kept else None, write=self.first)
            self.say(Saved(path=str(self.folder), step=summary.steps, final=True))
        self.say(TrainingFinished(summary=summary))
        return summary


def _started(config: TrainConfig, prepared: Prepared, steps: StepTotals, done: int, total: int) -> TrainingStarted:
    from agenttune.training.distributed.zero3_weights import parameter_count

    parameters = list(prepared.model.parameters())
    corpus, packing = prepared.corpus, prepared.packing
    return TrainingStarted(
        model=config.model,
        method=config.method,
        output=config.output,
        samples=len(corpus.draws),
        packs=len(packing.packs),
        step=done,
        steps=total,
        epochs=total / steps.per_epoch,
        trainable=sum(parameter_count(one) for one in parameters if one.requires_grad),
        parameters=sum(parameter_count(one) for one in parameters),
        tokens_total=sum(corpus.length(index) for index in corpus.draws),
        tokens_computed=sum(packing.tokens),
        tokens_supervised=sum(corpus.supervised(index) for index in corpus.draws),
        pack=prepared.pack,
        attention=prepared.attention,
        device=prepared.device,
        dtype=prepared.dtype,
        processes=packing.world,
        deepspeed=str(config.trainer.get("deepspeed") or ""),
        rejected=prepared.rejected(),
    )
