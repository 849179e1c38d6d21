"""transformers' Trainer over planned Packs: its loop, optimizer, schedule, ranks and checkpoints; our order, normaliser and loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from agenttune.data.pack import build
from agenttune.data.packing import Packing
from agenttune.errors import UserError
from agenttune.owned_folders import make_owned, remove_owned
from agenttune.training import checkpoint, failures, reporters
from agenttune.training.corpus import Corpus
from agenttune.training.distributed.zero3_weights import full_state_dict
from agenttune.training.distributed.zero_checkpoint import collective_engine
from agenttune.training.events import Notice, Saved, TrainingEvent
from agenttune.training.kernels.tree import tree_of
from agenttune.training.lora_plus import scale_b_learning_rate
from agenttune.training.peft_model import load_adapter_weights, save_weights
from agenttune.values.pack import Pack, Segment

Batch = dict[str, Any]


# What a rank computes where there is no Pack left for it: one token that weighs nothing, so that its gradients take part as zeros.
_NOTHING = Pack(
    token_ids=(0,), positions=(0,), segments=(Segment(start=0, end=1, parent=-1),), predictors=(0,), labels=(0,), weights=(0.0,)
)


class PackDataset(torch.utils.data.Dataset[Pack]):
    """Pack k of a plan, built when it is asked for."""

    def __init__(self, corpus: Corpus, packing: Packing, *, share: bool) -> None:
        self.corpus, self.packing, self.share = corpus, packing, share

    def __len__(self) -> int:
        return len(self.packing.packs)

    def __getitem__(self, index: int) -> Pack:
        samples = self.packing.packs[index]
        return build([self.corpus[one] for one in samples], share=self.share) if samples else _NOTHING


class PackSampler(torch.utils.data.Sampler[list[int]]):
    """One rank's Packs of an epoch as batches of one. `TrainLogCallback` sets `epoch` when one begins."""

    def __init__(self, packing: Packing, rank: int) -> None:
        self.packing, self.rank, self.epoch = packing, rank, 0

    def __len__(self) -> int:
        return len(self.packing.packs) // self.packing.world

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[index] for index in self.packing.order(self.epoch, self.rank)])


def collate(packs: Sequence[Pack], *, tree: bool = True) -> Batch:
    """A Pack as what the model's forward takes; ``pack`` stays with it for the log and is taken out before the forward."""
    (pack,) = packs
    return {
        "input_ids": torch.tensor([pack.token_ids]),
        "position_ids": torch.tensor([pack.positions]),
        "predictors": torch.tensor(pack.predictors),
        "targets": torch.tensor(pack.labels),
        "weights": torch.tensor(pack.weights, dtype=torch.float32),
        "tree": tree_of(pack) if tree else None,
        "pack": pack,
    }


def _write_now(write: Callable[[], None]) -> None:
    write()


class PackTrainer(Trainer):  # type: ignore[misc]
    """The Trainer. `say` is called with events; `seen` with each Pack when it has been trained on."""

    def __init__(
        self,
        *,
        model: PreTrainedModel | PeftModel,
        args: TrainingArguments,
        data: PackDataset,
        sampler: PackSampler,
        tree: bool,
        say: Callable[[TrainingEvent], None],
        seen: Callable[[Pack], None],
        callbacks: list[TrainerCallback],
        lr_ratio: float = 1.0,
    ) -> None:
        self.sampler, self.say, self.seen, self.tree, self.lr_ratio = sampler, say, seen, tree, lr_ratio
        super().__init__(model=model, args=args, train_dataset=data, callbacks=[*reporters.make_reporters(args), *callbacks])
        self.loss_is_scaled_for_ga = True
        self.remove_callback(PrinterCallback)
        self.callback_handler.callbacks = reporters.guard_reporters(self.callback_handler.callbacks, say)

    def create_accelerator_and_postprocess(self) -> None:
        """As the Trainer's, which tells accelerate of no accumulation, since it divides the loss itself, and DeepSpeed of all of it.

        accelerate divides nothing under DeepSpeed; it takes DeepSpeed's number in the end, with a warning that says the two disagree.
        """
        super().create_accelerator_and_postprocess()
        if self.is_deepspeed_enabled:
            self.accelerator.gradient_accumulation_steps = self.args.gradient_accumulation_steps

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """As the Trainer's, with LoRA's B matrices at `lr_ratio` times the learning rate."""
        fresh = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if fresh and self.lr_ratio != 1:
            scale_b_learning_rate(optimizer, model or self.model, self.lr_ratio)
        return optimizer

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Pack]:
        """This rank's own Packs: nothing may repeat some to make ranks even."""
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=self.sampler, collate_fn=lambda packs: collate(packs, tree=self.tree)
        )

    def get_batch_samples(self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device) -> tuple[list[Batch], None]:
        """The Packs of one step, each with the step's normaliser: the sum of all weights over accumulation and ranks."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        total = torch.tensor(sum(sum(batch["pack"].weights) for batch in batches), dtype=torch.float64)
        if self.args.world_size > 1:
            total = total.to(torch.float32).to(self.args.device)  # not every device has float64
            torch.distributed.all_reduce(total)
        for batch in batches:
            batch["normaliser"] = float(total)
        return batches, None

    def training_step(self, model: torch.nn.Module, inputs: Batch, num_items_in_batch: torch.Tensor | None = None) -> torch.Tensor:
        """One Pack forward and backward. Raises `UserError` where its loss is no number."""
        pack: Pack = inputs.pop("pack")
        loss: torch.Tensor = super().training_step(model, inputs, None)
        if not math.isfinite(float(loss)):
            self._diverged(f"the loss is {float(loss)}", f" (samples: {', '.join(pack.ids[:8]) or 'unnamed'})")
        self.seen(pack)
        return loss

    def compute_loss(
        self, model: torch.nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The Pack's part of the step's mean. Ranks' gradients are averaged afterwards, which `world_size` undoes."""
        outputs = model(**inputs)
        loss = outputs["loss"] * self.args.world_size
        return (loss, outputs) if return_outputs else loss

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: float | None = None) -> float | torch.Tensor | None:
        norm: float | torch.Tensor | None = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and not math.isfinite(float(norm)) and not self.args.fp16:  # there the loss is scaled up until it overflows
            self._diverged(f"the gradient's norm is {float(norm)}", "")
        return norm

    def _diverged(self, what: str, where: str) -> None:
        kept = checkpoint.newest_complete(Path(self.args.output_dir))
        advice = f"the last good checkpoint is {kept}" if kept else "no checkpoint was written yet"
        raise UserError(f"{what} at step {self.state.global_step + 1}{where}; {advice}; a lower trainer.learning_rate may help")

    def _prepare_input(self, data: Any) -> Any:
        """Tensors go to the device and keep their dtype: DeepSpeed's rule would round the weights of tokens to 16 bits."""
        if isinstance(data, dict):
            return {name: self._prepare_input(one) for name, one in data.items()}
        return data.to(self.args.device) if isinstance(data, torch.Tensor) else data

    def loss_of(self, batch: Batch) -> float:
        """The loss of a batch as in training, on this rank; nothing is kept for a backward pass where the caller asks for none."""
        given = self._prepare_input(batch)
        with self.compute_loss_context_manager():
            return float(self.model_wrapped(**given)["loss"])

    def floating_point_ops(self, inputs: Batch) -> int:
        """Not counted: the Trainer's rule knows neither sharing nor frozen weights."""
        return 0

    def _save_checkpoint(self, model: torch.nn.Module, trial: None) -> None:
        """A checkpoint, then its marker, then old ones go. A full disk costs this checkpoint and not the run."""
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            error = self._failed(self._claim)  # before any rank writes into a folder that is not ours
            lost = self._on_any_rank(error is not None)
            if not lost:
                error = self._failed(lambda: Trainer._save_checkpoint(self, model, trial))
                lost = self._on_any_rank(error is not None)
            if self.args.should_save and not lost:
                error = self._failed(lambda: self._complete(limit))
                lost = error is not None
            if lost:
                self._give_up(error)
        finally:
            self.args.save_total_limit = limit

    def _failed(self, write: Callable[[], None]) -> BaseException | None:
        """What a write failed of, where the disk is the reason."""
        try:
            write()
        except failures.WRITE_ERRORS as error:
            if not failures.is_disk_error(error):
                raise
            return error
        return None

    def _on_any_rank(self, here: bool) -> bool:
        if self.args.world_size == 1:
            return here
        flag = torch.tensor(int(here), device=self.args.device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag)

    def _folder(self) -> Path:
        return checkpoint.checkpoint_folder(Path(self.args.output_dir), self.state.global_step)

    def _claim(self) -> None:
        if self.args.should_save:
            make_owned(self._folder())

    def _complete(self, limit: int | None) -> None:
        checkpoint.complete(self._folder(), self.state.global_step)
        checkpoint.rotate(Path(self.args.output_dir), limit)
        self.say(Saved(path=str(self._folder()), step=self.state.global_step))

    def _give_up(self, error: BaseException | None) -> None:
        if self.args.should_save:
            remove_owned(self._folder())
        why = f" ({error})" if error is not None else " by another process"
        self.say(Notice(text=f"the checkpoint of step {self.state.global_step} could not be written{why}; the run goes on"))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The trained weights only, whole: no pickled arguments, no form to fill in."""
        folder = Path(output_dir or self.args.output_dir)
        state = full_state_dict(self.model, trained_only=hasattr(self.model, "peft_config"), keep=self.args.should_save)
        together = _internal_call and self.is_deepspeed_enabled  # the first of a checkpoint's writes; the ranks write the others together
        attempt = collective_engine(self.model_wrapped, self.args.device).attempt if together else _write_now
        if self.args.should_save:
            attempt(lambda: make_owned(folder))
            attempt(lambda: save_weights(self.model, folder, state))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if hasattr(self.model, "peft_config"):
            load_adapter_weights(self.model, resume_from_checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
