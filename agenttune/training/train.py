"""A training run from config to adapter: verbs yield events, nothing is printed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agenttune.config import TrainConfig
from agenttune.training import checkpoint
from agenttune.training.events import Event, Finished, Notice, Saved, Started, TrainSummary


def train(config: TrainConfig, *, resume: bool = False, events: Callable[[Event], None]) -> TrainSummary:
    """Trains as `config` says and leaves the adapter (or model), its card, log, plot and summary in ``config.output``.

    `events` is called with what happens, in this process's first rank only. With `resume` an unfinished run goes on from its newest
    complete checkpoint; the losses are those of an uninterrupted run. Ctrl-C saves a checkpoint and returns a summary that says
    `interrupted`. Raises `UserError` for whatever a person must change.
    """
    folder = Path(config.output)
    with checkpoint.claim(folder, config, resume=resume):
        return _Run(config, folder, resume, events).run()


class _Run:
    """One run's parts; short-lived."""

    def __init__(self, config: TrainConfig, folder: Path, resume: bool, events: Callable[[Event], None]) -> None:
        self.config, self.folder, self.resume, self.events = config, folder, resume, events
        self.first = True  # whether this is the rank that speaks and writes

    def say(self, event: Event) -> None:
        if self.first:
            self.events(event)

    def run(self) -> TrainSummary:
        from agenttune.models.device import pick_device
        from agenttune.models.quiet import hush_bitsandbytes

        hush_bitsandbytes()  # before the first library that imports it
        from agenttune.training.arguments import training_arguments
        from agenttune.training.callback import Interrupt
        from agenttune.training.prepare import prepare

        device = pick_device(self.config.device)
        arguments = training_arguments(self.config, device)
        self.first = bool(arguments.should_save)
        dtype = checkpoint.begun_dtype(self.folder) if self.resume and self.config.dtype == "auto" else None
        ready = prepare(self.config, device, arguments.world_size, self.say, dtype)
        start = self._start(ready.identity())
        interrupt = Interrupt(self.say)
        with interrupt.listening():
            return self._loop(ready, arguments, interrupt, start)

    def _start(self, identity: dict[str, Any]) -> Path | None:
        """The checkpoint to go on from; marks the folder with what the run is made of."""
        if self.resume:
            checkpoint.check_same(self.folder, self.config, identity)
        found = checkpoint.newest_complete(self.folder) if self.resume else None
        if self.resume and found is None:
            self.say(Notice(text=f"{self.folder} has no complete checkpoint; the run starts over"))
        if self.first:
            checkpoint.rotate(self.folder, None)
            checkpoint.write_run(self.folder, self.config, identity)
        return found

    def _loop(self, ready: Any, arguments: Any, interrupt: Any, start: Path | None) -> TrainSummary:
        from agenttune.training.callback import Watch
        from agenttune.training.finish import save_result, summarise
        from agenttune.training.loop import Packs, PackTrainer
        from agenttune.training.steps import Steps

        steps = Steps(ready.corpus, ready.plan, arguments.gradient_accumulation_steps)
        done = int(start.name.split("-")[-1]) if start else 0
        trainer: Any = None

        def begin_epoch(step: int) -> None:
            trainer.order.epoch = step // steps.per_epoch

        watch = Watch(self.folder, interrupt, self.say, steps.totals, begin_epoch, checkpoint.read_log(self.folder, done))
        data = Packs(ready.corpus, ready.plan, share=ready.pack == "share")
        trainer = PackTrainer(
            model=ready.model, args=arguments, data=data, tree=ready.pack != "none", say=self.say, seen=watch.seen, callbacks=[watch]
        )
        total = steps.total(arguments)
        self.say(_started(self.config, ready, steps, done, total))
        try:
            trainer.train(resume_from_checkpoint=str(start) if start else None)
        finally:
            watch.close()
        interrupted = watch.ended and trainer.state.global_step < total
        summary = summarise(self.config, ready, watch.records, interrupted=interrupted)
        if not interrupted and self.first:
            save_result(self.config, ready, summary, watch.records)
            self.say(Saved(path=str(self.folder), step=summary.steps, final=True))
        self.say(Finished(summary=summary))
        return summary


def _started(config: TrainConfig, ready: Any, steps: Any, done: int, total: int) -> Started:
    parameters = list(ready.model.parameters())
    corpus, plan = ready.corpus, ready.plan
    return Started(
        model=config.model,
        method=config.method,
        output=config.output,
        samples=len(corpus.draws),
        packs=len(plan.packs),
        step=done,
        steps=total,
        epochs=total / steps.per_epoch,
        trainable=sum(one.numel() for one in parameters if one.requires_grad),
        parameters=sum(one.numel() for one in parameters),
        tokens_total=sum(corpus.length(index) for index in corpus.draws),
        tokens_computed=sum(plan.tokens),
        tokens_supervised=sum(corpus.supervised(index) for index in corpus.draws),
        pack=ready.pack,
        attention=ready.attention,
        device=ready.device,
        dtype=ready.dtype,
        rejected=ready.rejected(),
    )
