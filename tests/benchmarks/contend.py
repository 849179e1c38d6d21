"""One contender in a process of its own: ``python contend.py ours|trainer|trl MODEL DTYPE THREADS``.

It reads a job a line (JSON) from its input and answers each with a line. Only what it measures is imported, so that a peer's
environment needs nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

LORA = {"r": 16, "alpha": 32}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# ChatML as SmolLM2's own template writes it, with what the model must emit marked for transformers' assistant mask.
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ m['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def main(kind: str, model: str, dtype: str, threads: str) -> None:
    """Loads once, then answers jobs until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["OMP_NUM_THREADS"] = threads
    warnings.simplefilter("ignore")
    stay_below(0.7)  # others wait beside it, with what they hold
    import torch

    torch.set_num_threads(int(threads))
    contender: Any = Ours(model, dtype) if kind == "ours" else Peer(kind, model, dtype)
    for line in sys.stdin:
        job = json.loads(line)
        found = peak(dtype) if job["do"] == "peak" else getattr(contender, job["do"])(**job["with"])
        answers.write(json.dumps({**found, "peak_mib": peak_memory()}) + "\n")
        give_back()


def give_back() -> None:
    """Frees what a job left behind, for the contenders that wait beside: together they would not fit."""
    import ctypes
    import gc

    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def stay_below(share: float) -> None:
    """An allocation beyond this share of the machine's memory fails here, before the system ends some process or other."""
    import resource

    limit = int(share * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def peak_memory() -> float:
    """The most resident memory this process has had, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak(dtype: str, size: int = 2048, seconds: float = 3.0) -> dict[str, float]:
    """The machine's matrix peak in `dtype`, in floating point operations a second: the best large product within `seconds`.

    A handful is over before a processor that another contender has left has come up to speed.
    """
    import torch

    one, two = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        one @ two
        best = min(best, time.perf_counter() - start)
    return {"flops": 2 * size**3 / best}


def read_rows(path: str) -> list[dict[str, Any]]:
    """``{"ids", "labels", "pack"}`` a line; a label of -100 is not trained."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def arguments(kind: Any, rate: float = 2e-4, **changes: Any) -> Any:
    """Training arguments that all share: AdamW, clipping, one epoch, nothing written."""
    return kind(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        learning_rate=rate,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
        **changes,
    )


def clocks() -> Callable[[], dict[str, float]]:
    """Seconds from now to the call, by the clock and of the processor (all threads)."""
    clock, processor = time.perf_counter(), time.process_time()
    return lambda: {"seconds": time.perf_counter() - clock, "processor": time.process_time() - processor}


def timed(trainer: Any) -> dict[str, float]:
    """Seconds of a whole epoch by the trainer's own loop, and the loss of its first step."""
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    losses = [one["loss"] for one in trainer.state.log_history if "loss" in one]
    return {"seconds": seconds, "loss": losses[0], "steps": trainer.state.global_step}


class Peer:
    """transformers' Trainer, or TRL's SFTTrainer, over the same LoRA of PEFT."""

    def __init__(self, kind: str, model: str, dtype: str) -> None:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.manual_seed(0)
        self.kind, self.folder, self.warm = kind, model, 0
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        base = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype), attn_implementation="sdpa")
        base.config.use_cache = False
        wanted = LoraConfig(r=LORA["r"], lora_alpha=LORA["alpha"], lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM")
        self.model = get_peft_model(base, wanted)

    def train(self, rows: str, batch: int, a_step: int, autocast: bool) -> dict[str, float]:
        """One epoch over the rows of a file in batches of `batch`, length-grouped, `a_step` samples a step.

        Where a process has not seen a batch as large, that comes first, untimed, at a learning rate of zero: kernels are made once a run.
        """
        from datasets import Dataset

        made = [{"input_ids": one["ids"], "labels": one["labels"], "length": len(one["ids"])} for one in read_rows(rows)]
        shared = {
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": max(1, a_step // batch),
            "train_sampling_strategy": "group_by_length",
            "bf16": autocast,
        }
        largest = sorted(made, key=lambda one: one["length"])[-batch:]
        if (tokens := batch * largest[-1]["length"]) > self.warm:
            self._trainer(Dataset.from_list(largest), {**shared, "gradient_accumulation_steps": 1, "rate": 0.0}).train()
            self.warm = tokens
        return timed(self._trainer(Dataset.from_list(made), shared))

    def _trainer(self, data: Any, shared: dict[str, Any]) -> Any:
        if self.kind == "trl":
            from trl import SFTConfig, SFTTrainer

            args = arguments(SFTConfig, gradient_checkpointing=False, max_length=None, dataset_num_proc=None, **shared)
            return SFTTrainer(model=self.model, args=args, train_dataset=data, processing_class=self.tokenizer)
        from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

        collate = DataCollatorForSeq2Seq(self.tokenizer, padding="longest", label_pad_token_id=-100)
        return Trainer(model=self.model, args=arguments(TrainingArguments, **shared), train_dataset=data, data_collator=collate)

    def prepare(self, file: str) -> dict[str, float]:
        """TRL's own preparation of messages: template, tokenizer, assistant mask, labels."""
        import datasets
        from trl import SFTConfig, SFTTrainer

        datasets.disable_caching()
        rows = [{"messages": json.loads(line)["messages"]} for line in Path(file).read_text(encoding="utf-8").splitlines()]
        self.tokenizer.chat_template = CHATML
        args = arguments(SFTConfig, gradient_checkpointing=False, max_length=None, assistant_only_loss=True, bf16=False)
        small = datasets.Dataset.from_list(rows[:1])
        trainer = SFTTrainer(model=self.model, args=args, train_dataset=small, processing_class=self.tokenizer)
        data = datasets.Dataset.from_list(rows)
        spent = clocks()
        done = trainer._prepare_dataset(data, self.tokenizer, args, False, None, "train")
        return {**spent(), "tokens": float(sum(len(one) for one in done["input_ids"]))}


class Ours:
    """agenttune's trainer over the same rows."""

    def __init__(self, model: str, dtype: str) -> None:
        import torch

        from agenttune.config import config_from
        from agenttune.models.hf import load_pretrained
        from agenttune.training.kernels.attention import use_tree_attention
        from agenttune.training.kernels.lora_linear import fuse_lora
        from agenttune.training.kernels.rms_norm import fuse_norms
        from agenttune.training.kernels.supervised_head import use_supervised_head
        from agenttune.training.peft_model import base_model_of, make_trainable

        torch.manual_seed(0)
        config = config_from({"model": model, "data": "-", "output": "-", "lora": {**LORA, "dropout": 0}}, "benchmark")
        self.folder, self.warm = model, 0
        base, self.tokenizer = load_pretrained(model, device="cpu", dtype=dtype)
        use_tree_attention(base)
        self.model = make_trainable(base, config)
        fuse_norms(self.model)
        fuse_lora(self.model)
        use_supervised_head(base_model_of(self.model))

    def data(self, rows: list[dict[str, Any]]) -> tuple[Any, Any]:
        """(corpus, plan) of rows that already say in which Pack they sit."""
        import numpy as np

        from agenttune.data.pack import build
        from agenttune.data.packing import Packing
        from agenttune.training.corpus import Corpus

        lengths = [len(one["ids"]) for one in rows]
        corpus = Corpus(
            ids=np.array([token for one in rows for token in one["ids"]], np.uint32),
            weights=np.array([float(label >= 0) for one in rows for label in one["labels"]]),
            starts=np.cumsum([0, *lengths], dtype=np.int64),
            prompts=np.array([next(i for i, label in enumerate(one["labels"]) if label >= 0) for one in rows], np.int64),
            names=tuple(str(number) for number in range(len(rows))),
            draws=tuple(range(len(rows))),
            counts={},
        )
        numbers = sorted({one["pack"] for one in rows})
        packs = tuple(tuple(index for index, one in enumerate(rows) if one["pack"] == number) for number in numbers)
        tokens = tuple(len(build([corpus[index] for index in pack]).token_ids) for pack in packs)
        return corpus, Packing(packs=packs, tokens=tokens, seed=0)

    def train(self, rows: str, **_: Any) -> dict[str, float]:
        """One epoch over the Packs of a file, after the largest of them as for a peer."""
        from dataclasses import replace

        corpus, packing = self.data(read_rows(rows))
        largest = max(range(len(packing.packs)), key=packing.tokens.__getitem__)
        if packing.tokens[largest] > self.warm:
            self._trainer(corpus, replace(packing, packs=(packing.packs[largest],), tokens=(packing.tokens[largest],)), rate=0.0).train()
            self.warm = packing.tokens[largest]
        return {**timed(self._trainer(corpus, packing)), "computed": float(sum(packing.tokens))}

    def _trainer(self, corpus: Any, packing: Any, **changes: Any) -> Any:
        from transformers import TrainingArguments

        from agenttune.training.trainer import PackDataset, PackSampler, PackTrainer

        ignore: Callable[[Any], None] = lambda _: None  # noqa: E731
        args = arguments(TrainingArguments, gradient_accumulation_steps=1, remove_unused_columns=False, **changes)
        data, sampler = PackDataset(corpus, packing, share=True), PackSampler(packing, 0)
        return PackTrainer(model=self.model, args=args, data=data, sampler=sampler, tree=True, say=ignore, seen=ignore, callbacks=[])

    def prepare(self, file: str) -> dict[str, float]:
        """Reading samples, rendering, fitting and planning."""
        from agenttune import templates
        from agenttune.config import config_from
        from agenttune.data.packing import PackLimits, make_packing
        from agenttune.models.hf import wrap_tokenizer
        from agenttune.training.corpus import make_corpus, read_samples

        tokenizer = wrap_tokenizer(self.tokenizer)  # once a run, as a peer's trainer is made once
        spent = clocks()
        config = config_from({"model": self.folder, "data": file, "output": "-", "length": 8192}, "benchmark")
        corpus = make_corpus(read_samples(config.data), templates.load("auto", tokenizer), tokenizer, config)
        make_packing([corpus.path(index) for index in corpus.draws], PackLimits(tokens=8192, samples=8), seed=0)
        return {**spent(), "tokens": float(len(corpus.ids))}

    def where(self, rows: str) -> dict[str, Any]:
        """Seconds of one step by kind of work."""
        from where import profile_step

        from agenttune.data.pack import build

        corpus, packing = self.data(read_rows(rows))
        return profile_step(self.model, build([corpus[index] for index in packing.packs[0]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
