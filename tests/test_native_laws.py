"""The laws over native conversations: tools, calls and results under real chat templates, and under one that is made here.

Which combination of tokenizer and shape a family or a template refuses is listed by name and reason; any other must be carried.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols, sources, templates
from agenttune.cli import main
from agenttune.data.convert.options import ConvertOptions
from agenttune.data.native import resolve
from agenttune.data.render import prompt_ids, render, text
from agenttune.errors import UserError
from agenttune.models.token_length import TokenLength, token_length
from agenttune.templates.jinja import JinjaTemplate
from agenttune.values.sample import Sample
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Observation, Step, ToolCall
from tests.conversations import CONVERSATIONS, MARKERS, answer, call, chat
from tests.protocols.test_native import CALLING
from tests.real_tokenizers import FAMILIES, PAIRS
from tests.test_laws import (
    Combination,
    accounted,
    asked_at,
    packed_as_one_at_a_time,
    rendered_combination,
    rows_of,
    runs,
)

# Native shapes: those of all protocols, and three without words beside calls, which some families cannot hold.
QUIET = {
    "quiet calls in a row": chat(("All?", (call("Ulm", "fog"), call("Hof", "ice"), answer("Fog, ice.")))),
    "quiet rounds": chat(("Ulm?", (call("Ulm", "fog"), answer("Fog."))), ("Hof?", (call("Hof", MARKERS), answer("Ice.")))),
    "quiet parallel calls": chat(
        (
            "Both?",
            (
                Step(
                    calls=(ToolCall(name="weather", arguments={"city": "Bonn"}), ToolCall(name="weather", arguments={"city": MARKERS})),
                    observations=(Observation(text="rain"), Observation(text="wind")),
                ),
                answer("Rain, wind."),
            ),
        )
    ),
}
SHAPES = {**CONVERSATIONS, **QUIET}
# Llama 3.1 and Mistral have no place for words beside a call.
WORDS = (
    *("two rounds", "three calls in a row", "parallel calls", "reasoning in all", "reasoning in some", "Chinese", "markers in content"),
    "a thought beside a call",
)
# Gemma 4 and DeepSeek V3 have none for reasoning before an answer, and so none for a thought there.
REASONED_ANSWERS = ("two rounds", "reasoning in all", "reasoning in some", "answer after a failed call", "markers in content")
REFUSED = {
    **{kind: dict.fromkeys(WORDS, "thought") for kind in ("llama3_1", "llama3_2", "mistral_v3", "mistral_nemo")},
    **{kind: dict.fromkeys(REASONED_ANSWERS, "content_dropped") for kind in ("gemma4", "deepseek_v3")},
}
# gpt-oss's template leaves out what was thought before a call once an answer follows: a prompt is not the beginning of what it becomes.
REWRITES = ("gptoss",)
INSIDE = ("qwen2_5", "qwen3_instruct_2507", "llama3_1", "llama3_2", "mistral_v3", "mistral_nemo")  # reasoning stands in the content
LEAST = 134  # of 11 tokenizers x 16 shapes


@pytest.mark.slow
def test_the_laws_hold_for_native_conversations_over_real_templates(real_tokenizers: dict[str, Tokenizer]) -> None:
    carried: Counter[str] = Counter()
    prompts = 0
    for kind, tokenizer in real_tokenizers.items():
        template = templates.load("auto", tokenizer)
        if kind not in FAMILIES:
            with pytest.raises(UserError, match="writes no tool calls"):
                resolve("native", template)
            continue
        family = resolve("native", template)
        assert family == FAMILIES[kind], kind
        made = {shape: rendered_combination(kind, family, SHAPES, shape, template, tokenizer) for shape in SHAPES}
        assert {shape: one.code for shape, one in made.items() if one.code} == REFUSED.get(kind, {}), kind
        for one in made.values():
            carried[kind] += not one.code
            prompts += 0 if one.code else holds(one)
    whole = len(FAMILIES) * len(SHAPES)
    print(f"native: {carried.total()} of {whole} carried ({dict(carried)}), {prompts} prompts")
    assert carried.total() >= LEAST or len(real_tokenizers) < len(PAIRS)


def holds(one: Combination) -> int:
    """Laws 1 to 6 for a native combination; the number of prompts that were compared."""
    protocol = protocols.get(one.protocol)
    special = one.tokenizer.special_ids
    count = 0
    trained_turns: list[int] = []
    for rendered, part, trained in one.parts():
        truth, ours = native_truth(part, one, generate=False), text(part, one.template)
        if not truth.startswith(ours):  # law 2: the prompt as it was given, and what the template writes behind it
            last = native_truth(asked_at(part, len(part.turns) - 1), one, generate=True)
            assert one.kind in REWRITES, one.named
            assert ours.startswith(last), one.named
            assert beyond(truth, last, one).startswith(ours[len(last) :]), one.named
        spoken = []
        answered = [index for index, turn in enumerate(part.turns) if turn.output]
        for position, turn in enumerate(answered):
            if turn not in trained:
                continue
            assert protocol.write_step(protocol.parse(part.turns[turn].output)) == part.turns[turn].output  # law 1
            prompt = prompt_ids(asked_at(part, turn), one.template, one.tokenizer)
            assert list(rendered.token_ids[: rendered.prompt_ends[position]]) == prompt, (one.named, turn)  # law 3, and 5
            asked = native_truth(asked_at(part, turn), one, generate=True)
            whole = native_truth(replace(part, turns=part.turns[: turn + 1]), one, generate=False)
            assert asked == text(asked_at(part, turn), one.template)
            if part.turns[turn].weight:
                spoken.append(beyond(whole, asked, one))
            count += 1
        said_ = runs(rendered, replace_stops(one))
        matches = [own.startswith(words) and not own[len(words) :].strip() for own, words in zip(spoken, said_, strict=True)]
        assert all(matches), (one.named, spoken, said_)  # law 4
        trained_turns += sorted(trained)
    assert sorted(trained_turns) == [index for index, turn in enumerate(one.sample.turns) if turn.output], one.named
    if MARKERS in str(one.sample.turns):  # law 6: markers in contents, arguments and results add no special id
        clean = cleaned(one.sample)
        ids = [
            [token for made in render(sample, one.template, one.tokenizer) for token in made.token_ids] for sample in (one.sample, clean)
        ]
        assert [token for token in ids[0] if token in special] == [token for token in ids[1] if token in special], one.named
    return count


def beyond(whole: str, asked: str, one: Combination) -> str:
    """What the template writes beyond the prompt `asked`; of one that rewrites earlier turns, behind the last message before it."""
    if whole.startswith(asked):
        return whole[len(asked) :]
    assert one.kind in REWRITES, one.named
    tail = asked[max(asked.rfind(role) for role in ("<|start|>functions.", "<|start|>user")) :]
    assert whole.count(tail) == 1, one.named
    return whole.partition(tail)[2]


def replace_stops(one: Combination) -> Combination:
    """The combination with every special id as a stop: a call may end in another token than an answer."""
    return replace(one, template=replace(one.template, stop_ids=one.tokenizer.special_ids))


def cleaned(sample: Sample) -> Sample:
    """The sample without the markers of other templates in it."""
    plain = [json.dumps(MARKERS, ensure_ascii=False)[1:-1], MARKERS]

    def clean(words: str) -> str:
        return words.replace(plain[1], "x").replace(plain[0], "x")

    turns = tuple(replace(turn, system=clean(turn.system), input=clean(turn.input), output=clean(turn.output)) for turn in sample.turns)
    return replace(sample, turns=turns)


def native_rows(sample: Sample, one: Combination) -> list[dict[str, Any]]:
    """The messages of a native sample, written without our code: OpenAI's form."""
    protocol = protocols.get(sample.protocol)
    rows: list[dict[str, Any]] = []
    open_calls: list[Any] = []
    for index, turn in enumerate(sample.turns):
        asked = turn.input
        if turn.system and index == 0 and isinstance(one.template, JinjaTemplate) and not one.template.roles.system:
            asked = f"{turn.system}\n\n{turn.input}"
        elif turn.system and index == 0:
            rows.append({"role": "system", "content": turn.system})
        elif turn.system:
            texts = json.loads(turn.system) if len(open_calls) > 1 or turn.system == '[""]' else [turn.system]
            for name, seen in zip(open_calls, texts, strict=True):
                rows.append({"role": "tool", "content": seen, "tool_call_id": name, "name": "weather"})
        if asked:
            rows.append({"role": "user", "content": asked})
        if turn.output:
            step = protocol.parse(turn.output)
            made: dict[str, Any] = {"role": "assistant", "content": step.thought if step.answer is None else step.answer}
            if step.reasoning and one.kind in INSIDE:
                gap = "\n\n" if made["content"] else "\n"
                made["content"] = f"<think>\n{step.reasoning}\n</think>{gap}{made['content']}"
            elif step.reasoning:
                made["thinking"] = made["reasoning_content"] = step.reasoning
            open_calls = []
            for item in step.calls:
                assert isinstance(item, ToolCall)
                number = 1 + sum(len(row.get("tool_calls", ())) for row in rows) + len(open_calls)
                open_calls.append(item.id or f"call{number:05d}")
                arguments = dict(item.arguments)
                written = json.dumps(arguments, ensure_ascii=False) if one.kind == "deepseek_v3" else arguments
                function = {"name": item.name, "arguments": written}
                made.setdefault("tool_calls", []).append({"id": open_calls[-1], "type": "function", "function": function})
            rows.append(made)
    return rows


def native_truth(sample: Sample, one: Combination, *, generate: bool) -> str:
    """What the tokenizer's template writes for a native sample."""
    tools = [
        {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}}
        for tool in sample.tools
    ]
    return one.tokenizer.apply_template(native_rows(sample, one), generate=generate, options={"tools": tools} if tools else {})


def calling(make: Callable[[str], Any], template: str = CALLING) -> Any:
    """A made ChatML vocabulary under a template that writes calls."""
    hf = copy.copy(make("chatml"))
    hf.chat_template = template
    return hf


def measured(hf: Any, folder: Path) -> TokenLength:
    """Lengths in this tokenizer's tokens, out of a folder that holds nothing else."""
    hf.save_pretrained(folder)
    return token_length(str(folder), "auto")


def test_law_7_holds_for_native_samples(made_tokenizer: Callable[[str], Any], tmp_path: Path) -> None:
    options = ConvertOptions(protocol="native/hermes", measure=measured(calling(made_tokenizer), tmp_path / "model"))
    made = [accounted(source, options, tmp_path) for source in sources.SHIPPED]
    records, refused = sum(one.records for one in made), sum(one.rejects for one in made)
    reasons = dict(sum((Counter(one.reasons) for one in made), Counter()))
    print(f"law 7, native: {len(made)} sources, {records} records, {refused} refused {reasons}")
    assert len(made) >= 10
    assert records >= 60
    assert 20 <= refused < records / 2


@pytest.mark.usefixtures("one_thread")
def test_law_8_holds_for_native_samples(made_tokenizer: Callable[[str], Any]) -> None:
    assert packed_as_one_at_a_time(calling(made_tokenizer), "native/hermes")


WEATHER = {"name": "weather", "arguments": '{"city": "Ulm"}'}
RECORD = {
    "messages": [
        {"role": "user", "content": "Ulm?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "c1", "type": "function", "function": WEATHER}]},
        {"role": "tool", "tool_call_id": "c1", "content": "fog and ice"},
        {"role": "assistant", "content": "Fog."},
    ]
}
WORDS_BESIDE = "{% if m.content %}{{ '\n' }}{{ m.content }}{% endif %}"
SEEN = "<tool_response>\n{{ m.content }}"


@pytest.mark.parametrize(
    ("old", "new", "code", "sentence"),
    [
        (WORDS_BESIDE, "", "content_dropped", "the template leaves out what the assistant says in turn 1"),
        (
            SEEN,
            "<tool_response>\n{{ m.content[:3] }}",
            "content_dropped",
            "the template leaves out what the tool says in turn 2",
        ),
        (
            SEEN,
            f"{SEEN}{{{{ m.content }}}}",
            "content_moved",
            "the template writes a content of this conversation twice, or before one that",
        ),
    ],
)
def test_a_record_that_cannot_be_written_and_read_back_is_refused_in_a_sentence(
    old: str, new: str, code: str, sentence: str, made_tokenizer: Callable[[str], Any], tmp_path: Path
) -> None:
    assert old in CALLING
    calling(made_tokenizer, CALLING.replace(old, new)).save_pretrained(tmp_path / "model")
    (tmp_path / "log.json").write_text(json.dumps([RECORD]), encoding="utf-8")
    chosen = ["--protocol", "native", "--model", str(tmp_path / "model"), "--workers", "1"]
    assert main(["convert", "openai", str(tmp_path / "log.json"), "-o", str(tmp_path / "out.jsonl"), *chosen]) == 2
    (reject,) = rows_of(tmp_path / "out.rejects.jsonl")
    assert reject["code"] == code
    assert reject["sentence"].startswith(sentence)
    assert "\n" not in reject["sentence"]


def test_a_template_that_writes_calls_in_other_words_is_refused_in_a_sentence(
    made_tokenizer: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calling(made_tokenizer, CALLING.replace("tool_call>", "call>")).save_pretrained(tmp_path / "model")
    (tmp_path / "log.json").write_text(json.dumps([RECORD]), encoding="utf-8")
    chosen = ["--protocol", "native", "--model", str(tmp_path / "model")]
    assert main(["convert", "openai", str(tmp_path / "log.json"), "-o", str(tmp_path / "out.jsonl"), *chosen]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "writes no tool calls in the words of a family that is known here" in said
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.slow
def test_the_laws_see_at_least_ten_real_vocabularies(real_tokenizers: dict[str, Tokenizer]) -> None:
    vocabularies = {PAIRS[kind][0] for kind in real_tokenizers} - {"gemma4"}
    print(f"{len(real_tokenizers)} pairs of {len(vocabularies)} vocabularies: {', '.join(sorted(vocabularies))}")
    assert len(vocabularies) >= 10 or len(real_tokenizers) < len(PAIRS)
