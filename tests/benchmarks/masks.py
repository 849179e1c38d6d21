"""``make bench BENCH=masks``: 5 templates by 8 shapes: what each trainer's own mask trains that it must not, or leaves out."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agenttune import protocols, templates
from agenttune.data.render import render
from agenttune.models.hf import wrap_tokenizer
from agenttune.templates.messages import messages_of
from agenttune.values.sample import tool_to_json
from agenttune.values.trajectory import Step, ToolCall
from tests.benchmarks import peers
from tests.benchmarks.shapes import SHAPES, Said, Wrong, Wrongs, said_of, sample_of, spelled, wrong_tokens

# Templates as TRL ships them: the stop, and all special tokens their text has.
JINJA = {
    "qwen2_5": ("<|im_end|>", ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]),
    "qwen3": ("<|im_end|>", ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]),
    "llama3": ("<|eot_id|>", ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
    "phi3": ("<|end|>", ["<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]),
    "gemma": ("<end_of_turn>", ["<bos>", "<start_of_turn>", "<end_of_turn>"]),
}
NAMED = ("default", "internlm_chat", "qwen_chat", "zephyr", "llama2_chat")
# Each with the releases it asks for of what it shares with us, and nothing that only its training, its server or its pictures need.
SWIFT = ["ms-swift==4.6.0", "transformers==5.19.0", "peft==0.20.0", "modelscope==1.35.4", "json-repair==0.64.6"]
FACTORY = ["llamafactory==0.9.5", "transformers==5.6.0", "peft==0.18.1", "tokenizers==0.22.2", "huggingface-hub==1.33.0"]
FACTORY += ["httpx==0.28.1", "httpcore==1.0.9"]
FACTORY_NAMES = {"qwen2_5": "qwen", "qwen3": "qwen3", "llama3": "llama3", "phi3": "phi", "gemma": "gemma"}


def main(folder: Path) -> None:
    """Prints a line a trainer, and a line a template under it."""
    print("tokens: of observations trained / that the model must emit and are missed / trained and never emitted; 5 templates, 8 shapes")
    python = peers.environment("trl", ["--no-deps", "trl==1.16.0"], above_ours=True)
    if python:
        compare(folder, python, "trl", list(jinja_jobs(folder, python)))
    python = peers.environment("xtuner", ["--no-deps", "xtuner==0.1.11"], above_ours=True)
    if python:
        compare(folder, python, "xtuner", list(named_jobs(folder)))
    for peer, packages, names in (("ms-swift", SWIFT, {}), ("llamafactory", FACTORY, FACTORY_NAMES)):
        python = peers.environment(peer, ["--no-deps", *packages], above_ours=True)
        if python:
            compare(folder, python, peer, list(agent_jobs(folder, names)))


def made_tokenizer(special: list[str], stop: str) -> Any:
    """A byte-level tokenizer of a few hundred ids that knows these special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    words = [turn.output for name in SHAPES for turn in sample_of(name).turns] * 5
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(words, trainer)
    start = special[0] if special[0] in ("<s>", "<bos>", "<|begin_of_text|>") else None
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=start, eos_token=stop, pad_token=stop)


def jinja_jobs(folder: Path, python: str) -> Iterator[dict[str, Any]]:
    """Every template of `JINJA` over every shape, as messages whose roles that template takes."""
    (site,) = Path(python).parents[1].glob("lib/python*/site-packages")
    for name, (stop, special) in JINJA.items():
        hf = made_tokenizer(special, stop)
        hf.chat_template = (site / "trl" / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
        hf.save_pretrained(folder / name)
        template: Any = templates.load("auto", wrap_tokenizer(hf))
        for shape in SHAPES:
            sample = sample_of(shape)
            said = [{"role": one.role, "content": one.content} for one in messages_of(sample.turns, template.roles)]
            prompt = hf.apply_chat_template(said[:-1], tokenize=False, add_generation_prompt=True)
            whole = hf.apply_chat_template(said, tokenize=False)
            lead = whole[len(prompt) : whole.rindex(said[-1]["content"])] if whole.startswith(prompt) else ""
            job = {"tokenizer": str(folder / name), "template": name, "shape": shape, "messages": said, "stop": stop}
            yield {**job, "lead": lead, "ours": "auto"}


def named_jobs(folder: Path) -> Iterator[dict[str, Any]]:
    """XTuner's templates over every shape. Its stop is the end-of-sequence token."""
    hf = made_tokenizer(["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<eoh>", "<eoa>"], "</s>")
    hf.save_pretrained(folder / "named")
    for name in NAMED:
        for shape in SHAPES:
            turns = [{"system": one.system, "input": one.input, "output": one.output} for one in sample_of(shape).turns]
            yield {"tokenizer": str(folder / "named"), "template": name, "shape": shape, "conversation": turns, "stop": "</s>", "lead": ""}


def agent_jobs(folder: Path, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The templates of `JINJA`, as the peer itself has them, over every shape: steps as our text, and apart what they are made of."""
    for name, (stop, special) in JINJA.items():
        made_tokenizer(special, stop).save_pretrained(folder / f"{name}.plain")
        for shape, trajectory in SHAPES.items():
            job = {"tokenizer": str(folder / f"{name}.plain"), "template": names.get(name, name), "shape": shape, "stop": stop, "lead": ""}
            rounds = [(one.user, [_step(step) for step in one.steps]) for one in trajectory.rounds]
            tools = [tool_to_json(one) for one in trajectory.tools]
            instruction = sample_of(shape).turns[0].system
            yield {**job, "system": trajectory.system, "instruction": instruction, "tools": tools, "rounds": rounds}


def _step(step: Step) -> dict[str, Any]:
    text = protocols.get("react").write_step(step)
    if not step.calls:
        return {"text": text, "thought": step.thought, "answer": step.answer, "call": None}
    (call,), (seen,) = step.calls, step.observations
    assert isinstance(call, ToolCall)
    return {"text": text, "thought": step.thought, "call": {"name": call.name, "arguments": dict(call.arguments)}, "seen": seen.text}


def compare(folder: Path, python: str, peer: str, jobs: list[dict[str, Any]]) -> None:
    """The peer's counts over its jobs by template, and ours over the same where they are not those of another peer."""
    from transformers import AutoTokenizer

    given, out = folder / f"{peer}.in.jsonl", folder / f"{peer}.out.jsonl"
    given.write_text("".join(json.dumps(job) + "\n" for job in jobs), encoding="utf-8")
    subprocess.run([python, str(Path(__file__).with_name("mask_peer.py")), peer, str(given), str(out)], check=True, capture_output=True)
    rows: dict[str, dict[str, Wrongs]] = {}
    for job, line in zip(jobs, out.read_text(encoding="utf-8").splitlines(), strict=True):
        hf = AutoTokenizer.from_pretrained(job["tokenizer"])
        answer = json.loads(line)
        if "error" in answer:
            print(f"  {peer}, {job['template']}, {job['shape']}: {answer['error']}")
            continue
        found = {f"{peer} {name}": judged(hf, made, job) for name, made in answer.items()}
        if "rounds" not in job:
            found[f"agenttune, beside {peer}"] = ours_of(hf, job)
        for name, wrong in found.items():
            rows.setdefault(name, {}).setdefault(job["template"], Counter()).update(wrong)
    for name, cells in rows.items():
        _show(name, cells)


def _show(name: str, cells: dict[str, Wrongs]) -> None:
    total = sum(cells.values(), Wrongs())
    print(f"{name}: {Wrong.of(total)}   ({'; '.join(f'{template} {Wrong.of(cell)}' for template, cell in cells.items())})")
    if total:
        often = (f"{count} {token.decode(errors='replace')!r} ({kind})" for (kind, token), count in total.most_common(4))
        print(f"    most often: {', '.join(often)}")


def judged(hf: Any, made: dict[str, Any], job: dict[str, Any]) -> Wrongs:
    """Wrong tokens against the sample, or against what the peer wrote of it; where a content is missing, all that is not trained."""
    said = [Said(*one) for one in made["said"]] if "said" in made else said_of(sample_of(job["shape"]), job["stop"])
    try:
        return wrong_tokens(hf, made["ids"], made["trained"], said, made.get("lead", job["lead"]))
    except (ValueError, AssertionError):
        return Counter(("missed", spelled(hf, token)) for token, flag in zip(made["ids"], made["trained"], strict=True) if not flag)


def ours_of(hf: Any, job: dict[str, Any]) -> Wrongs:
    """Ours over the same job; a template that is not prefix-stable gives several renderings, each of which trains its last output."""
    tokenizer = wrap_tokenizer(hf)
    try:
        template = templates.load(job.get("ours", job["template"]), tokenizer)
    except Exception as error:
        raise RuntimeError(f"{job['template']}: {error}") from error
    sample, total = sample_of(job["shape"]), Wrongs()
    answered = [index for index, turn in enumerate(sample.turns) if turn.output]
    renderings = render(sample, template, tokenizer)
    for number, one in enumerate(renderings):
        end = answered[number] + 1 if len(renderings) > 1 else answered[-1] + 1
        part = type(sample)(id=sample.id, protocol=sample.protocol, tools=sample.tools, turns=sample.turns[:end], meta=sample.meta)
        flags = [bool(weight) for weight in one.weights]
        said = said_of(part, template.stops[0], only_last=len(renderings) > 1)
        total += wrong_tokens(hf, one.token_ids, flags, said, job["lead"])
    return total
