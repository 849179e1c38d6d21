"""A peer's own mask: ``python mask_peer.py PEER IN OUT``. Reads tokenizers and conversations, writes ids and trained flags."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = "default, steps as text"
Said = list[list[str]]  # (whose: prompt, observation or output; text; what must end an output), in the order of the text


def main(peer: str, given: str, out: str) -> None:
    """A line in: tokenizer folder, messages or conversation. A line out: ``{"name": {"ids", "trained"}}`` or ``{"error"}``.

    A peer that writes contents itself adds ``said`` (what it wrote) and ``lead`` (what the model must write before each output).
    """
    from transformers import AutoTokenizer

    masks = {"trl": trl, "xtuner": xtuner, "ms-swift": swift, "llamafactory": factory}[peer]
    lines = []
    for line in Path(given).read_text(encoding="utf-8").splitlines():
        job = json.loads(line)
        try:
            lines.append(json.dumps(masks(AutoTokenizer.from_pretrained(job["tokenizer"]), job)))
        except Exception as error:  # what a peer raises is its answer
            lines.append(json.dumps({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}))
    Path(out).write_text("\n".join(lines) + "\n", encoding="utf-8")


def trl(tokenizer: Any, job: dict[str, Any]) -> dict[str, Any]:
    """TRL's training template where it has one for this template, and its default, which trains everything."""
    from trl.chat_template_utils import get_training_chat_template
    from trl.trainer.sft_trainer import _tokenize

    form = get_training_chat_template(tokenizer)
    made = _tokenize(tokenizer, job["messages"], return_assistant_tokens_mask=True, chat_template=form)
    whole = _tokenize(tokenizer, job["messages"])["input_ids"]
    return {
        "assistant_only_loss": {"ids": made["input_ids"], "trained": [bool(one) for one in made["assistant_masks"]]},
        "default": {"ids": whole, "trained": [True] * len(whole)},
    }


def xtuner(tokenizer: Any, job: dict[str, Any]) -> dict[str, Any]:
    """XTuner's `template_map_fn` and `encode_fn`, read from their files: mmengine, which they only take a dict from, is not needed."""
    folder = _folder("xtuner")
    config = types.ModuleType("mmengine.config")
    config.ConfigDict = _Dict  # type: ignore[attr-defined]
    misc = types.ModuleType("mmengine.utils.misc")
    misc.get_object_from_string = None  # type: ignore[attr-defined]
    named = {one: types.ModuleType(one) for one in ("mmengine", "mmengine.utils", "xtuner")}
    sys.modules.update({**named, "mmengine.config": config, "mmengine.utils.misc": misc})
    constants, templates = _file("constants", folder / "utils/constants.py"), _file("templates", folder / "utils/templates.py")
    utils = types.ModuleType("xtuner.utils")
    utils.__dict__.update(constants.__dict__)
    sys.modules["xtuner.utils"] = utils
    form = getattr(templates.PROMPT_TEMPLATE, job["template"])
    mapped = _file("map", folder / "dataset/map_fns/template_map_fn.py").template_map_fn({"conversation": job["conversation"]}, form)
    made = _file("dataset", folder / "dataset/utils.py").encode_fn(mapped, tokenizer, 1 << 20)
    return {"encode_fn": _masked(made["input_ids"], made["labels"])}


def swift(tokenizer: Any, job: dict[str, Any]) -> dict[str, Any]:
    """ms-swift's `get_template(…).encode`: by default, over steps as text and over calls as data, and with what it offers for agents.

    What it reads of a model are three facts, given by hand. A template without an agent template of its own gets `react_en`.
    """
    from swift.template import TEMPLATE_MAPPING, get_template

    tokenizer.model_info = types.SimpleNamespace(config=None, task_type="causal_lm", max_model_len=None)
    tokenizer.model_meta = types.SimpleNamespace(is_multimodal=False)
    own = TEMPLATE_MAPPING[job["template"]].agent_template or "react_en"
    agents = "react_en, react+ignore_empty_think"
    found = {}
    for name, agent, scale in ((TEXT, own, "default"), ("default, tool_call", own, "default"), (agents, *agents.split(", "))):
        template = get_template(tokenizer, template_type=job["template"], agent_template=agent, loss_scale=scale)
        example, said = _swift_text(job) if name == TEXT else _swift_calls(job, template.agent_template)
        template.set_mode("train")
        made = template.encode(example)
        whole = template.encode({"messages": _probe()})["input_ids"]
        template.set_mode("transformers")
        prompt = template.encode({"messages": _probe()[:1]})["input_ids"]
        found[name] = {**_masked(made["input_ids"], made["labels"]), "said": said, "lead": _lead(tokenizer, prompt, whole)}
    return found


def _swift_text(job: dict[str, Any]) -> tuple[dict[str, Any], Said]:
    """Steps as text; what a tool answered as a message of its own, before which ms-swift writes the word that ends a call."""
    messages, said = [{"role": "system", "content": job["instruction"]}], [["prompt", job["instruction"], ""]]
    for user, steps in job["rounds"]:
        messages.append({"role": "user", "content": user})
        said.append(["prompt", user, ""])
        for step in steps:
            messages.append({"role": "assistant", "content": step["text"]})
            said.append(["output", step["text"], "\nObservation:" if step["call"] else job["stop"]])
            if step["call"]:
                messages.append({"role": "tool", "content": step["seen"]})
                said.append(["observation", step["seen"], ""])
    return {"messages": messages}, said


def _swift_calls(job: dict[str, Any], agent: Any) -> tuple[dict[str, Any], Said]:
    """Calls as data that the agent template writes; `react_en` leaves out the system text, so it is not looked for."""
    messages, said = [{"role": "system", "content": job["system"]}], []
    for user, steps in job["rounds"]:
        messages.append({"role": "user", "content": user})
        said.append(["prompt", user, ""])
        for step in steps:
            thought = f"Thought: {step['thought']}\n" if step["thought"] else ""
            if not step["call"]:
                messages.append({"role": "assistant", "content": f"{thought}Final Answer: {step['answer']}"})
                said.append(["output", messages[-1]["content"], job["stop"]])
                continue
            call = {"role": "tool_call", "content": json.dumps(step["call"], ensure_ascii=False)}
            messages += [{"role": "assistant", "content": thought}] if thought else []
            messages += [call, {"role": "tool_response", "content": step["seen"]}]
            written = thought + agent._format_tool_calls([call])
            said.append(["output", written, "" if written.endswith("Observation:") else job["stop"]])
            said.append(["observation", step["seen"], ""])
    tools = [{"type": "function", "function": one} for one in job["tools"]]
    return {"messages": messages, "tools": json.dumps(tools, ensure_ascii=False)}, said


def factory(tokenizer: Any, job: dict[str, Any]) -> dict[str, Any]:
    """LLaMA-Factory's ShareGPT converter and supervised processor, by default: steps as text (`gpt`), and calls as `function_call`."""
    template, encode = _factory_encoder(tokenizer, job["template"])
    chat = [{"from": "human", "value": "x"}, {"from": "gpt", "value": "Yes."}]
    prompt, _ = template.encode_oneturn(tokenizer, [*_probe()[:1], {"role": "assistant", "content": ""}])  # as its chat does
    lead = _lead(tokenizer, prompt, encode({"conversations": chat, "tools": ""})["ids"])
    found = {}
    for name, write in ((TEXT, None), ("default, function_call", _factory_call(template))):
        example, said = _factory_example(job, write)
        found[name] = {**encode(example), "said": said, "lead": lead}
    return found


def _factory_encoder(tokenizer: Any, name: str) -> tuple[Any, Callable[[dict[str, Any]], dict[str, Any]]]:
    """The template, and what encodes a ShareGPT example with it.

    torchaudio, which is imported to read sound, and the parser of arguments, of which only those of data are needed, are left out.
    """
    audio = types.ModuleType("torchaudio")
    audio.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = audio
    from llamafactory.data.converter import SharegptDatasetConverter
    from llamafactory.data.parser import DatasetAttr
    from llamafactory.data.processor import SupervisedDatasetProcessor
    from llamafactory.data.template import get_template_and_fix_tokenizer

    arguments = _file("arguments", _folder("llamafactory") / "hparams/data_args.py").DataArguments(template=name, cutoff_len=1 << 20)
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    convert = SharegptDatasetConverter(DatasetAttr("file", "agent", formatting="sharegpt", tools="tools"), arguments)
    process = SupervisedDatasetProcessor(template, tokenizer, None, arguments)

    def encode(example: dict[str, Any]) -> dict[str, Any]:
        made = process.preprocess_dataset({key: [value] for key, value in convert(example).items()})
        return _masked(made["input_ids"][0], made["labels"][0])

    return template, encode


def _factory_call(template: Any) -> Callable[[dict[str, Any]], str]:
    def write(call: dict[str, Any]) -> str:
        from llamafactory.data.tool_utils import FunctionCall

        arguments = json.dumps(call["arguments"], ensure_ascii=False)
        return str(template.format_function.tool_utils.function_formatter([FunctionCall(call["name"], arguments)]))

    return write


def _factory_example(job: dict[str, Any], write: Callable[[dict[str, Any]], str] | None) -> tuple[dict[str, Any], Said]:
    """With `write` (what the template makes of a call), calls are data; thoughts are left out, which it takes there only as `<think>`."""
    system = job["system"] if write else job["instruction"]
    turns, said = [{"from": "system", "value": system}], [["prompt", system, ""]]
    for user, steps in job["rounds"]:
        turns.append({"from": "human", "value": user})
        said.append(["prompt", user, ""])
        for step in steps:
            if write and step["call"]:
                turns.append({"from": "function_call", "value": json.dumps(step["call"], ensure_ascii=False)})
                said.append(["output", write(step["call"]), job["stop"]])
            else:
                turns.append({"from": "gpt", "value": step["answer"] if write else step["text"]})
                said.append(["output", turns[-1]["value"], job["stop"]])
            if step["call"]:
                turns.append({"from": "observation", "value": step["seen"]})
                said.append(["observation", step["seen"], ""])
    return {"conversations": turns, "tools": json.dumps(job["tools"], ensure_ascii=False) if write else ""}, said


def _probe() -> list[dict[str, str]]:
    return [{"role": "user", "content": "x"}, {"role": "assistant", "content": "Yes."}]


def _lead(tokenizer: Any, prompt: list[int], whole: list[int]) -> str:
    """What stands in a training text between the peer's own prompt for generation and the answer: the model must write it."""
    before, text = tokenizer.decode(prompt), tokenizer.decode(whole)
    assert text.startswith(before), (before, text)
    return str(text[len(before) : text.rindex("Yes.")]) if len(before) <= text.rindex("Yes.") else ""


def _masked(ids: list[int], labels: list[int]) -> dict[str, Any]:
    return {"ids": ids, "trained": [label >= 0 for label in labels]}


class _Dict(dict[str, Any]):
    """What mmengine's ConfigDict is to templates: keys as attributes."""

    def __getattr__(self, name: str) -> Any:
        value = self[name]
        return _Dict(value) if isinstance(value, dict) else value


def _folder(package: str) -> Path:
    return Path(next(one for one in sys.path if (Path(one) / package / "__init__.py").is_file())) / package


def _file(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"peer_{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])
