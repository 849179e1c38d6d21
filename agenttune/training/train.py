"""A training run from config to adapter: verbs yield events, nothing is printed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agenttune.config import TrainConfig
from agenttune.training import checkpoint
from agenttune.training.distributed import zero
from agenttune.training.events import Notice, Saved, TrainingEvent, TrainingFinished, TrainingStarted, TrainSummary
from agenttune.training.failures import sentences


def train(config: TrainConfig, *, resume: bool = False, events: Callable[[TrainingEvent], None]) -> TrainSummary:
    """Trains as `config` says and leaves the adapter (or model), its card, log, plot and summary in ``config.output``.

    `events` is called with what happens, in this process's first rank only. With `resume` an unfinished run goes on from its newest
    complete checkpoint; the losses are those of an uninterrupted run. Ctrl-C saves a checkpoint and returns a summary that says
    `interrupted`. Raises `UserError` for whatever a person must change.
    """
    folder = Path(config.output)
    run = _Run(config, folder, resume, events)
    with checkpoint.claim(folder, config, resume=resume), sentences(config, run.fitted):
        return run.run()


class _Run:
    """One run's parts; short-lived."""

    def __init__(self, config: TrainConfig, folder: Path, resume: bool, events: Callable[[TrainingEvent], None]) -> None:
        self.config, self.folder, self.resume, self.events = config, folder, resume, events
        self.first = True  # whether this is the rank that speaks and writes
        self.watch: Any = None

    def say(self, event: TrainingEvent) -> None:
        if self.first:
            self.events(event)

    def fitted(self) -> int:
        """Tokens of the largest Pack that has been trained on."""
        return self.watch.largest if self.watch is not None else 0

    def run(self) -> TrainSummary:
        from agenttune.models.device import pick_device
        from agenttune.models.library_messages import mute_bitsandbytes

        mute_bitsandbytes()  # before the first library that imports it
        from agenttune.training.arguments import paged, training_arguments
        from agenttune.training.callbacks import Interrupt
        from agenttune.training.prepare import number_format, prepare

        device = pick_device(self.config.device)
        zero.hush(device)
        begun = checkpoint.begun(self.folder) if self.resume else {}
        dtype = number_format(self.config, device, begun.get("dtype"))
        arguments = training_arguments(self.config, device, dtype)
        self.first = bool(arguments.should_save)
        if reason := paged(self.config, device):
            self.say(Notice(text=reason))
        ready = prepare(self.config, device, dtype, arguments.world_size, self.say, products=begun.get("products"))
        start = self._start(ready.identity())
        interrupt = Interrupt(self.say)
        with interrupt.listening():
            summary = self._loop(ready, arguments, interrupt, start)
        zero.part()
        return summary

    def _start(self, identity: dict[str, Any]) -> Path | None:
        """The checkpoint to go on from; marks the folder with what the run is made of."""
        if self.resume:
            checkpoint.check_same(self.folder, self.config, identity)
        found = checkpoint.newest_complete(self.folder) if self.resume else None
        if self.resume and found is None:
            self.say(Notice(text=f"{self.folder} has no complete checkpoint; the run starts over"))
        if self.first:
            checkpoint.rotate(self.folder, None)
            if self.resume:
                checkpoint.adopt_best(self.folder, checkpoint.read_checks(self.folder, 10**18))
            checkpoint.write_run(self.folder, self.config, identity)
        return found

    def _loop(self, ready: Any, arguments: Any, interrupt: Any, start: Path | None) -> TrainSummary:
        from agenttune.training.callbacks import Watch
        from agenttune.training.result import save_result, summarise
        from agenttune.training.steps import Steps
        from agenttune.training.trainer import Packs, PackTrainer

        steps = Steps(ready.corpus, ready.packing, arguments.gradient_accumulation_steps)
        done = checkpoint.step_of(start) if start else 0
        trainer: Any = None

        def begin_epoch(step: int) -> None:
            trainer.order.epoch = step // steps.per_epoch

        before, checked = checkpoint.read_log(self.folder, done), checkpoint.read_checks(self.folder, done)
        watch = self.watch = Watch(self.folder, interrupt, self.say, steps.totals, begin_epoch, before, checked)
        checks = self._checks(ready, arguments, lambda: trainer, watch)
        data = Packs(ready.corpus, ready.packing, share=ready.pack == "share")
        callbacks = [watch, checks] if checks else [watch]
        trainer = PackTrainer(
            model=ready.model,
            args=arguments,
            data=data,
            tree=ready.pack != "none",
            say=self.say,
            seen=watch.seen,
            callbacks=callbacks,
            lr_ratio=self.config.lora.lr_ratio,
        )
        total = steps.total(arguments)
        self.say(_started(self.config, ready, steps, done, total))
        try:
            trainer.train(resume_from_checkpoint=str(start) if start else None)
        finally:
            watch.close()
        interrupted = watch.ended and trainer.state.global_step < total
        kept = checks.kept() if checks and not interrupted else None
        summary = summarise(self.config, ready, watch.records, interrupted=interrupted, kept=kept[0] if kept else None)
        if not interrupted:
            save_result(self.config, ready, summary, [*checked, *watch.records], weights=kept[1] if kept else None, write=self.first)
            self.say(Saved(path=str(self.folder), step=summary.steps, final=True))
        self.say(TrainingFinished(summary=summary))
        return summary

    def _checks(self, ready: Any, arguments: Any, trainer: Callable[[], Any], watch: Any) -> Any:
        """What checks the run while it goes on, None where the config asks for nothing. The trainer is made after it."""
        check = self.config.check
        if check is None:
            return None
        from agenttune.training.best_checkpoint import Checks
        from agenttune.training.validation import held_out, measure

        seen = held_out(self.config, ready, arguments.process_index, self.say)
        return Checks(
            self.folder,
            check,
            watch.checks,
            measure=lambda: measure(check, ready, seen, trainer()._prepare_input, trainer().forward),
            save=lambda folder: trainer().save_model(str(folder)),
            write=watch.write,
            tell=lambda numbers: trainer().log(numbers),
            say=self.say,
        )


def _started(config: TrainConfig, ready: Any, steps: Any, done: int, total: int) -> TrainingStarted:
    from agenttune.training.distributed.zero3_weights import size

    parameters = list(ready.model.parameters())
    corpus, packing = ready.corpus, ready.packing
    return TrainingStarted(
        model=config.model,
        method=config.method,
        output=config.output,
        samples=len(corpus.draws),
        packs=len(packing.packs),
        step=done,
        steps=total,
        epochs=total / steps.per_epoch,
        trainable=sum(size(one) for one in parameters if one.requires_grad),
        parameters=sum(size(one) for one in parameters),
        tokens_total=sum(corpus.length(index) for index in corpus.draws),
        tokens_computed=sum(packing.tokens),
        tokens_supervised=sum(corpus.supervised(index) for index in corpus.draws),
        pack=ready.pack,
        attention=ready.attention,
        device=ready.device,
        dtype=ready.dtype,
        processes=packing.world,
        deepspeed=str(config.trainer.get("deepspeed") or ""),
        rejected=ready.rejected(),
    )
