"""Several tokens a forward pass in calls: what is said is what one token a pass says, and calls take few passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
import pytest

from agenttune import protocols, templates
from agenttune.agent import decode as decoding
from agenttune.agent.constrain import CallGrammar
from agenttune.agent.decode import Session, decode
from agenttune.agent.draft import before_call, in_call
from agenttune.data.render import prompt_ids
from agenttune.evaluation import suites
from agenttune.models import load_tokenizer
from agenttune.models.base import Prefill, Prefix
from agenttune.models.hf import HFModel
from agenttune.models.scripted import ByteTokenizer, ScriptedModel
from agenttune.values.case import Case
from agenttune.values.tokens import Completion, SamplingParams, Tokenizer
from agenttune.values.trajectory import Step, ToolCall, ToolSpec

REACT = protocols.get("react")
TEXT = {"type": "string"}
PAGE = ToolSpec(name="page", parameters={"type": "object", "properties": {"text": TEXT}, "required": ["text"]})
PLAN = ToolSpec(
    name="plan",
    parameters={
        "type": "object",
        "properties": {"day": {"enum": ["monday", "tuesday"]}, "hours": {"type": "integer"}, "who": TEXT, "why": TEXT},
        "required": ["day", "hours", "who", "why"],
    },
)
STOP = frozenset({257})


def said(reply: str, prompt: str = "q", tools: Sequence[ToolSpec] = (PAGE, PLAN), protocol: str = "react") -> Completion:
    """What a model says that wants to say `reply`."""
    model = ScriptedModel([reply])
    grammar = CallGrammar(protocols.get(protocol), tools, model.tokenizer)
    ids = model.tokenizer.encode(prompt, special=False)
    return decode(model, [ids], SamplingParams(stop_ids=STOP, max_new_tokens=300), grammars=[grammar])[0]


def test_what_a_call_repeats_of_the_prompt_is_read_in_one_pass() -> None:
    reply = 'Action: page\nAction Input: {"text": "Zagreb"}'
    strange, known = said(reply, "Tell me of a city."), said(reply, "Tell me of Zagreb, please.")
    assert strange.text == known.text == reply
    # "Z", then six letters one by one: "agreb" and the closing quote; with the prompt they are read with the "Z", and "}" with them.
    assert strange.forward_passes - known.forward_passes == 6


def test_a_wrong_guess_is_taken_back() -> None:
    reply = 'Action: page\nAction Input: {"text": "Zag"}'
    assert said(reply, "Zagreb or Zadar?").text == reply
    assert said(reply, "Zagreb").token_ids == tuple(reply.encode())


def test_the_trigger_is_guessed_from_its_beginning() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.decode(before_call(list(b"Thought: x\nA"), REACT, tokenizer, 99)) == "ction:"
    assert before_call(list(b"Thought: A"), REACT, tokenizer, 99) == []  # not at the start of a line
    assert before_call(list(b"Final Answer: x\nA"), REACT, tokenizer, 99) == []
    hermes = protocols.get("hermes")
    assert tokenizer.decode(before_call(list(b"So <"), hermes, tokenizer, 99)) == 'tool_call>\n{"name": "'
    assert tokenizer.decode(before_call(list(b"So <"), hermes, tokenizer, 4)) == "tool"


def test_forced_text_is_its_canonical_encoding(made_tokenizer: Callable[[str], Any]) -> None:
    from agenttune.models.hf import wrap_tokenizer

    tokenizer = wrap_tokenizer(made_tokenizer("chatml"))
    grammar = CallGrammar(REACT, [PAGE], tokenizer)
    matcher = grammar.matcher()
    ids = tokenizer.encode("Action:", special=False)
    matcher.consume_tokens(ids)
    forced = in_call(ids, matcher, tokenizer, "", 99)
    text = 'Action: page\nAction Input: {"text": "'
    assert [*ids, *forced] == tokenizer.encode(text, special=False)
    assert in_call(ids, matcher, tokenizer, "", 3) == forced[:3]
    assert matcher.validate_tokens(forced) == len(forced)  # the matcher is where it was


def test_a_special_token_before_is_no_hindrance() -> None:
    tokenizer = ByteTokenizer()
    matcher = CallGrammar(REACT, [PAGE], tokenizer).matcher()
    matcher.consume_tokens(list(b"Action: "))
    assert tokenizer.decode(in_call([256, *b"Action: "], matcher, tokenizer, "", 99)) == 'page\nAction Input: {"text": "'


def test_a_draft_is_never_longer_than_what_may_be_said() -> None:
    reply = 'Action: page\nAction Input: {"text": "Zagreb"}'
    for limit in range(1, len(reply)):
        model = ScriptedModel([reply])
        grammar = CallGrammar(REACT, [PAGE], model.tokenizer)
        (made,) = decode(model, [[1]], SamplingParams(stop_ids=STOP, max_new_tokens=limit), grammars=[grammar])
        assert (made.text, made.stop) == (reply[:limit], "length")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "lfm2"])
def test_float64_says_the_same_with_and_without_drafts(tiny: Callable[..., HFModel], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone with a session and in a batch, greedy and sampled, several protocols; random weights refuse many drafts and take some."""
    model = tiny(kind)
    tokens = passes = 0
    for number, (protocol, choice) in enumerate([("react", "required"), ("hermes", "plan")]):
        grammar = CallGrammar(protocols.get(protocol), (PAGE, PLAN), model.tokenizer, choice=choice)
        prompts = [model.tokenizer.encode(text, special=False) for text in ("Berlin days", "The lazy dog 012", "x")]
        sampling = SamplingParams(max_new_tokens=40, temperature=float(number), seed=number)
        found = []
        for limit in (0, 16):
            monkeypatch.setattr(decoding, "DRAFT", limit)
            session = Session(model)
            alone = [decode(model, [one], sampling, sessions=[session], grammars=[grammar])[0] for one in prompts]
            found.append([*alone, *decode(model, prompts, sampling, grammars=[grammar] * 3)])
        plain, drafted = found
        assert [one.token_ids for one in plain] == [one.token_ids for one in drafted]
        assert [one.prefilled_tokens for one in plain] == [one.prefilled_tokens for one in drafted]
        tokens += sum(one.forward_passes for one in plain)
        passes += sum(one.forward_passes for one in drafted)
    print(f"{kind}: {tokens} passes without drafts, {passes} with them")
    assert passes < 0.9 * tokens if kind in ("llama", "qwen2") else passes == tokens  # other caches cannot be cut: no drafts


class Reciting:
    """A model over a real tokenizer that wants to say these ids."""

    def __init__(self, wanted: Sequence[int], tokenizer: Tokenizer, vocabulary: int) -> None:
        self.wanted, self.tokenizer, self.vocabulary = list(wanted), tokenizer, vocabulary
        self.name, self.context, self.card, self.fingerprint = "reciting", 1 << 20, None, "reciting"

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Any:
        return RecitingRow(self)


class RecitingRow:
    """Its one row."""

    drafts = True

    def __init__(self, model: Reciting) -> None:
        self._model, self._at, self._draft = model, 0, 0
        self.prefill = (Prefill(tokens=1, passes=1),)

    def greedy(self) -> list[int]:
        wanted = self._model.wanted
        return [wanted[min(self._at + place, len(wanted) - 1)] for place in range(1 + self._draft)]

    def logits(self) -> Any:
        found = numpy.zeros((1 + self._draft, self._model.vocabulary), dtype=numpy.float32)
        found[range(1 + self._draft), self.greedy()] = 1
        return found

    def advance(self, tokens: Sequence[int], drafts: Sequence[Sequence[int]] | None = None) -> None:
        self._at, self._draft = self._at + 1, len(drafts[0]) if drafts else 0

    def cut(self, kept: Sequence[int]) -> None:
        self._at, self._draft = self._at + kept[0], 0

    def prefix(self, row: int) -> Prefix:
        return Prefix()


def gold_calls(protocol: str) -> Iterator[tuple[Case, str]]:
    """The desk's cases with the text of their first accepted call."""
    for case in suites.read("desk"):
        if case.answers and case.answers[0]:
            one = case.answers[0][0]
            call = ToolCall(name=one.name, arguments={name: values[0] for name, values in one.arguments.items()})
            yield case, protocols.get(protocol).write_step(Step(calls=(call,)))


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["react", "hermes"])
def test_the_desks_calls_take_at_most_half_a_pass_a_token(smollm2: str, protocol: str) -> None:
    tokenizer = load_tokenizer(smollm2)
    template = templates.load("auto", tokenizer)
    tokens = passes = calls = 0
    for case, text in gold_calls(protocol):
        grammar = CallGrammar(protocols.get(protocol), case.sample.tools, tokenizer)
        wanted = tokenizer.encode(text, special=False)
        model: Any = Reciting([*wanted, 2], tokenizer, 49152)
        sampling = SamplingParams(stop_ids=frozenset({2}), max_new_tokens=400)
        (made,) = decode(model, [prompt_ids(case.sample, template, tokenizer)], sampling, grammars=[grammar])
        assert list(made.token_ids) == wanted, text
        tokens, passes, calls = tokens + len(wanted), passes + made.forward_passes, calls + 1
    print(f"{protocol}: {calls} calls, {tokens} tokens, {passes} forward passes: {passes / tokens:.2f} a token")
    assert calls >= 200
    assert passes <= 0.5 * tokens
