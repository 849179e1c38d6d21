"""The grammar over native families: special tokens by their ids, ids behind arguments, arguments between tags."""

from __future__ import annotations

from functools import cache

import pytest

from agenttune import protocols
from agenttune.agent.constrain import CallGrammar, RowConstraint
from agenttune.agent.step import StepOptions
from agenttune.errors import UserError
from agenttune.models.scripted import ScriptedModel
from agenttune.models.tokenizer import HFTokenizer
from agenttune.values.trajectory import Step, ToolCall
from tests.conftest import CORPUS
from tests.conversations import TOOLS

MARKERS = (
    *("<|end|>", "[TOOL_CALLS]", "<|channel|>", "<|message|>", "<|call|>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    *("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"),
)
FAMILIES = [name for name in protocols.NATIVES if name != "native/gemma4"]
CALL = ToolCall(name="weather", arguments={"city": "Bonn"})


@cache
def tokenizer() -> HFTokenizer:
    """Byte-level BPE with every family's markers as special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=list(MARKERS), initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    return HFTokenizer(PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>", additional_special_tokens=list(MARKERS)))


def held(name: str, text: str, choice: str) -> bool:
    """Whether the grammar lets the family's words through, and lets them end there."""
    row = RowConstraint(CallGrammar(protocols.get(name), TOOLS, tokenizer(), choice=choice), frozenset([0]))
    for token in tokenizer().encode(text, special=True):
        if not row.active:
            row.begins(token)
        if row.active and not row.allows(token):
            return False
        row.push(token)
    return not row.active or row.complete or row.allows(0)


@pytest.mark.parametrize("name", FAMILIES)
def test_calls_of_a_family_pass_its_grammar_and_others_do_not(name: str) -> None:
    protocol = protocols.get(name)
    step = Step(calls=(CALL, CALL) if protocol.parallel_calls else (CALL,))
    text = protocol.write_step(step)
    for choice in ("auto", "required", "weather"):
        assert held(name, text, choice), choice
        assert not held(name, text.replace("weather", "wether"), choice), choice
        assert not held(name, text.replace("city", "town"), choice), choice
    assert held(name, protocol.write_step(Step(answer="It is so.")), "none")
    assert not held(name, text, "none")


def test_a_family_whose_arguments_no_grammar_holds_is_free_and_cannot_be_forced() -> None:
    protocol = protocols.get("native/gemma4")
    model = ScriptedModel([])
    assert StepOptions(constrain=True).grammar(protocol, TOOLS, model) is None
    with pytest.raises(UserError, match="cannot be held to a call"):
        StepOptions(tool_choice="required").grammar(protocol, TOOLS, model)
