"""Checks while a run goes on: the loss of held-out samples, and tool calls judged as `agenttune eval` judges them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from transformers import PreTrainedModel

from agenttune.config import CheckConfig, DataFile, TrainConfig
from agenttune.data.fit import CHANGES
from agenttune.data.packing import PackLimits, make_packing
from agenttune.evaluation import suites
from agenttune.evaluation.evaluate import batches, prompt_token_limit, score_cases, subset
from agenttune.evaluation.metrics import METRICS, values_of
from agenttune.evaluation.predict import ModelPredictor, render_prompts
from agenttune.models.hf import HFModel, wrap_tokenizer
from agenttune.training.corpus import make_corpus, read_samples, resolve_protocol
from agenttune.training.distributed.zero3_weights import is_zero3
from agenttune.training.events import Notice, TrainingEvent
from agenttune.training.kernels.supervised_head import plain_forward
from agenttune.training.peft_model import base_model_of
from agenttune.training.prepare import Prepared
from agenttune.training.trainer import Batch, PackDataset, PackTrainer, collate
from agenttune.values import tokens
from agenttune.values.case import Case, Score

ROWS = 48  # cases decoded at once: fewer than an evaluation's, because what training holds stays in memory
DECODING = "sdpa"  # tree attention takes a tree; a cache has none
CheckResult: TypeAlias = dict[str, Any]  # "loss": float; "cases", "right": int; a metric's name: [yes, asked]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckData:
    """One rank's share of what a check looks at: Packs of held-out samples, their whole weight over all ranks, and cases."""

    packs: tuple[Batch, ...] = ()
    weight: float = 0.0
    cases: tuple[Case, ...] = ()


def load_check_data(config: TrainConfig, prepared: Prepared, rank: int, say: Callable[[TrainingEvent], None]) -> CheckData:
    """Reads what the config's ``check`` names (nothing: empty). Raises `UserError` for what is not there or of another protocol."""
    check = config.check
    if check is None:
        return CheckData()
    packs: list[Batch] = []
    weight = 0.0
    if check.data is not None:
        read = read_samples([DataFile(path=check.data)])
        resolve_protocol(prepared.protocol, read.samples)
        corpus = make_corpus(read, prepared.template, wrap_tokenizer(prepared.tokenizer), config)
        if left := sum(count for code, count in corpus.counts.items() if code not in CHANGES):
            say(Notice(text=f"{left} samples of {check.data} are left out of the check"))
        limits = PackLimits(tokens=config.pack_tokens, samples=1 if prepared.pack == "none" else config.pack_samples)
        paths = [corpus.path(index) for index in range(len(corpus))]
        planned = make_packing(paths, limits, seed=config.seed, world=prepared.packing.world, share=prepared.pack == "share")
        data = PackDataset(corpus, planned, share=prepared.pack == "share")
        weight = sum(sum(data[index].weights) for index in range(len(data)))
        packs = [collate([data[index]], tree=prepared.pack != "none") for index in range(rank, len(data), planned.world)]
    return CheckData(packs=tuple(packs), weight=weight, cases=_cases(check, prepared, rank))


def _cases(check: CheckConfig, prepared: Prepared, rank: int) -> tuple[Case, ...]:
    """Cases in the run's protocol; under ZeRO-3 every rank decodes all, because ranks must make the same passes."""
    if check.suite is None:
        return ()
    cases = subset(suites.load(check.suite, protocol=prepared.protocol).cases, check.cases)
    render_prompts(cases, prepared.template, wrap_tokenizer(prepared.tokenizer))  # a case that the template cannot carry is a sentence now
    return tuple(cases if is_zero3() else cases[rank :: prepared.packing.world])


def run_check(check: CheckConfig, prepared: Prepared, data: CheckData, trainer: PackTrainer) -> CheckResult:
    """``{"loss": …}`` and, where cases are judged, ``right`` of ``cases`` and each metric as (yes, asked); all ranks come here alike."""
    found: CheckResult = {}
    with _without_dropout(prepared.model), torch.no_grad():
        if data.packs:
            found["loss"] = _loss(data, trainer, prepared.packing.world)
        if check.suite is not None:
            found |= _judged(check, prepared, data.cases)
    return found


def _loss(data: CheckData, trainer: PackTrainer, world: int) -> float:
    """The mean over the weights of all held-out tokens, of all ranks."""
    total = 0.0
    for batch in data.packs:
        total += trainer.loss_of({**{name: one for name, one in batch.items() if name != "pack"}, "normaliser": data.weight})
    return _summed([total], world)[0]


def _judged(check: CheckConfig, prepared: Prepared, cases: Sequence[Case]) -> CheckResult:
    hf = base_model_of(prepared.model)
    tokenizer = wrap_tokenizer(prepared.tokenizer)
    with _decoding(hf):
        model = HFModel(hf, tokenizer, name="the model in training", base_fingerprint=prepared.base_fingerprint)
        prompts = render_prompts(cases, prepared.template, tokenizer)
        sampling = tokens.SamplingParams(max_new_tokens=check.max_new_tokens)
        predict = ModelPredictor(model=model, template=prepared.template, sampling=sampling, prompts=prompts.ids)
        parts = batches(cases, ROWS, prompts.lengths, prompt_token_limit(model.token_bytes))
        scores = [score for batch in parts for score in score_cases(batch, predict)]
    world = 1 if is_zero3() else prepared.packing.world
    return _counted(_summed(_counts(scores), world))


def _counts(scores: Sequence[Score]) -> list[float]:
    """Cases, those that are right, and for each metric (yes, asked)."""
    found = [len(scores), sum(one.reason == "ok" for one in scores)]
    for metric in METRICS:
        values = [value for _, value in values_of(scores, metric)]
        found += [sum(values), len(values)]
    return [float(one) for one in found]


def _counted(counts: Sequence[float]) -> CheckResult:
    whole = [int(one) for one in counts]
    pairs = zip(METRICS, zip(whole[2::2], whole[3::2], strict=True), strict=True)
    return {"cases": whole[0], "right": whole[1], **{metric: list(pair) for metric, pair in pairs if pair[1]}}


def _summed(values: Sequence[float], world: int) -> list[float]:
    if world == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float32)  # not every device has float64
    if torch.distributed.get_backend() == "nccl":
        total = total.cuda()
    torch.distributed.all_reduce(total)
    return [float(one) for one in total]


@contextlib.contextmanager
def _without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """As for use, without dropout; but a quantised layer repacks its weights for good when it leaves training, so it stays."""
    chosen = [one for one in model.modules() if one.training and not type(one).__module__.startswith("bitsandbytes")]
    for one in chosen:
        one.training = False
    try:
        yield
    finally:
        for one in chosen:
            one.training = True


@contextlib.contextmanager
def _decoding(hf: PreTrainedModel) -> Iterator[None]:
    """With the model's own forward, which puts logits at the last position only, and an attention that reads a cache."""
    before = hf.config._attn_implementation
    hf.set_attn_implementation(DECODING if getattr(hf, "_supports_sdpa", False) else "eager")
    try:
        with plain_forward(hf):
            yield
    finally:
        hf.set_attn_implementation(before)


def better(one: CheckResult, other: CheckResult | None) -> bool:
    """Whether a check is better: more cases right; of as many, or where none is judged, less loss. The earlier of two alike stays."""
    if other is None:
        return True
    first, second = one.get("right", 0), other.get("right", 0)
    if first != second:
        return bool(first > second)
    return bool(one.get("loss", 0.0) < other.get("loss", 0.0))
