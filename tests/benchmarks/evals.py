"""What judging takes: every AST item of BFCL's wheel, with the answers and with one fault each; and what asking takes, beside one
``generate`` call a case."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from agenttune import protocols
from agenttune.errors import UserError
from agenttune.evaluation import selftest, suites
from agenttune.evaluation.evaluate import batches, prompt_token_limit, score_cases, subset
from agenttune.evaluation.options import BATCH
from agenttune.evaluation.predict import ModelPredictor, Prompts, render_prompts
from agenttune.values.case import Case
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Step, ToolCall


def run(*, quick: bool) -> None:
    """Prints items, seconds of one core, and items a second; then cases a second of both ways of asking, in turn."""
    try:
        suite = suites.load("bfcl:ast")
    except UserError as error:
        print(error)
        return
    right = selftest.oracle(suite.cases)
    for name, steps in (("with the answers", right), ("with an argument made up", [_faulty(step) for step in right])):
        start = time.process_time()
        score_cases(suite.cases, lambda _, steps=steps: steps, suite.judge)  # type: ignore[misc]
        took = time.process_time() - start
        print(f"{len(steps)} AST items {name}: judged in {took:.2f} s, {len(steps) / took:,.0f} a second")
    asking(8 if quick else 64, 24 if quick else 96)


def asking(count: int, new_tokens: int) -> None:
    """SmolLM2-135M on cases of ``bfcl:simple_python``: what `agenttune eval` does, and one ``generate`` call a case."""
    from agenttune import models, templates

    cases = subset(suites.load("bfcl:simple_python").cases, count)
    model = models.load("smollm2-135m", device="cpu", dtype=os.environ.get("BENCH_DTYPE", "float32"))
    template, sampling = templates.load("auto", model.tokenizer), SamplingParams(max_new_tokens=new_tokens)
    prompts = render_prompts(cases, template, model.tokenizer)
    predict = ModelPredictor(model=model, template=template, sampling=sampling, prompts=prompts.ids)
    ours, took = _in_batches(predict, cases, prompts)
    theirs, alone = _one_by_one(predict, cases, prompts)
    work, flips = predict.work, sum(ours[case.id] != theirs[case.id] for case in cases)
    print(f"asking {count} cases, {model.hf.dtype}: {count / took:.2f} a second, one generate call a case {count / alone:.2f}", end="")
    print(f": {alone / took:.1f} times as fast; {flips} replies differ")
    print(f"{work.forward_passes} forward passes for {work.output_tokens} tokens", end="")
    print(f"; {work.prefilled_tokens} of {work.prompt_tokens} prompt tokens read")


def _in_batches(predict: ModelPredictor, cases: Sequence[Case], prompts: Prompts) -> tuple[dict[str, tuple[int, ...]], float]:
    start = time.perf_counter()
    parts = batches(cases, BATCH, prompts.lengths, prompt_token_limit(predict.model.token_bytes))  # type: ignore[attr-defined]
    said = {case.id: step.token_ids for part in parts for case, step in zip(part, predict(part), strict=True)}
    return said, time.perf_counter() - start


def _one_by_one(predict: ModelPredictor, cases: Sequence[Case], prompts: Prompts) -> tuple[dict[str, tuple[int, ...]], float]:
    import torch

    from agenttune.agent.step import bounded

    ends = sorted(bounded(predict.sampling, predict.template, protocols.get("hermes")).stop_ids)
    length, start, said = predict.sampling.max_new_tokens, time.perf_counter(), {}
    for case in cases:
        ids = torch.tensor([prompts.ids[case.id]])
        options = {"max_new_tokens": length, "do_sample": False, "eos_token_id": ends, "pad_token_id": ends[0]}
        with torch.inference_mode():
            made = predict.model.hf.generate(ids, attention_mask=torch.ones_like(ids), **options)  # type: ignore[attr-defined]
        said[case.id] = tuple(one for one in made[0, ids.shape[1] :].tolist() if one not in ends)
    return said, time.perf_counter() - start


def _faulty(step: Step) -> Step:
    calls = [replace(call, arguments={**call.arguments, "made_up": 1}) for call in step.calls if isinstance(call, ToolCall)]
    return replace(step, calls=tuple(calls))
