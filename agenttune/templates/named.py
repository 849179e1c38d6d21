"""Named templates: five spans each, after XTuner v0.1.23 `xtuner/utils/templates.py` (Apache-2.0; see NOTICE).

XTuner's INSTRUCTION is here two spans, user and assistant header, so that a turn with an empty input (an observation in
`system`) renders no empty user turn; its SUFFIX, or the tokenizer's EOS where it has none, is the stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttune.errors import UserError
from agenttune.templates.base import Coverage, Piece, PieceKind
from agenttune.values.sample import Turn
from agenttune.values.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The five spans. `stop` empty: the tokenizer's EOS. `tokens` must be single tokens of the vocabulary; `plain` are
    markers that are ordinary text, broken inside content so that content cannot open a turn."""

    system: str = ""
    user: str = "{input}"
    assistant: str = ""
    stop: str = ""
    separator: str = ""
    tokens: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()


_CHATML = Spans(
    system="<|im_start|>system\n{system}<|im_end|>\n",
    user="<|im_start|>user\n{input}<|im_end|>\n",
    assistant="<|im_start|>assistant\n",
    stop="<|im_end|>",
    separator="\n",
    tokens=("<|im_start|>", "<|im_end|>"),
)
_VICUNA = Spans(
    system=(
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
        "and polite answers to the user's questions. {system}\n "
    ),
    user="USER: {input} ",
    assistant="ASSISTANT:",
    separator="\n",
    plain=("USER:", "ASSISTANT:"),
)
_INST = Spans(system="[INST] {system} [/INST]\n", user="[INST] {input} [/INST]", separator="\n", plain=("[INST]", "[/INST]"))
_DEEPSEEK_CODER_SYSTEM = (
    "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeekCompany, and you only answer "
    "questions related to computer science. For politically sensitive questions, security and privacy issues, and other "
    "non-computer science questions, you will refuse to answer. {system}\n"
)
_DEEPSEEK_CODER = Spans(
    system=_DEEPSEEK_CODER_SYSTEM,
    user="### Instruction:\n{input}\n",
    assistant="### Response:\n",
    separator="\n",
    plain=("### Instruction:", "### Response:"),
)
_LLAMA2_SYSTEM = (
    "[INST] <<SYS>>\n You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe. "
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. Please ensure that "
    "your responses are socially unbiased and positive in nature.\n{system}\n<</SYS>>\n [/INST] "
)

NAMED: dict[str, Spans] = {
    "default": Spans(
        system="<|System|>:{system}\n",
        user="<|User|>:{input}\n",
        assistant="<|Bot|>:",
        separator="\n",
        plain=("<|System|>", "<|User|>", "<|Bot|>"),
    ),
    "zephyr": Spans(
        system="<|system|>\n{system}\n",
        user="<|user|>\n{input}\n",
        assistant="<|assistant|>\n",
        separator="\n",
        plain=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
    "internlm_chat": Spans(
        system="<|System|>:{system}\n",
        user="<|User|>:{input}<eoh>\n",
        assistant="<|Bot|>:",
        stop="<eoa>",
        separator="\n",
        tokens=("<eoh>", "<eoa>"),
        plain=("<|System|>", "<|User|>", "<|Bot|>"),
    ),
    "internlm2_chat": _CHATML,
    "moss_sft": Spans(system="{system}\n", user="<|Human|>: {input}<eoh>\n", separator="\n", tokens=("<eoh>",), plain=("<|Human|>",)),
    "llama2_chat": Spans(
        system=_LLAMA2_SYSTEM, user="[INST] {input} [/INST]", separator="\n", plain=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")
    ),
    "code_llama_chat": Spans(system="{system}\n", user="[INST] {input} [/INST]", plain=("[INST]", "[/INST]")),
    "chatglm2": Spans(
        system="{system}\n", user="[Round {round}]\n\n问：{input}\n\n", assistant="答：", separator="\n\n", plain=("问：", "答：")
    ),
    "chatglm3": Spans(
        system="<|system|>\n{system}",
        user="<|user|>\n{input}",
        assistant="<|assistant|>\n",
        separator="\n",
        tokens=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
    "qwen_chat": _CHATML,
    "baichuan_chat": Spans(
        system="{system}\n",
        user="<reserved_102>{input}",
        assistant="<reserved_103>",
        separator="\n",
        tokens=("<reserved_102>", "<reserved_103>"),
    ),
    "baichuan2_chat": Spans(
        system="{system}\n",
        user="<reserved_106>{input}",
        assistant="<reserved_107>",
        separator="\n",
        tokens=("<reserved_106>", "<reserved_107>"),
    ),
    "wizardlm": _VICUNA,
    "wizardcoder": Spans(
        system="Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n{system}\n ",
        user="### Instruction:\n{input}\n\n",
        assistant="### Response:",
        separator="\n\n",
        plain=("### Instruction:", "### Response:"),
    ),
    "vicuna": _VICUNA,
    "deepseek_coder": _DEEPSEEK_CODER,
    "deepseekcoder": _DEEPSEEK_CODER,
    "deepseek_moe": _INST,
    "deepseek_v2": Spans(
        system="{system}\n\n",
        user="User: {input}\n\n",
        assistant="Assistant: ",
        stop="<｜end▁of▁sentence｜>",
        tokens=("<｜end▁of▁sentence｜>",),
        plain=("User:", "Assistant:"),
    ),
    "mistral": _INST,
    "mixtral": _INST,
    "minicpm": Spans(system="{system}\n", user="<用户> {input} ", assistant="<AI>", separator="\n", plain=("<用户>", "<AI>")),
    "gemma": Spans(
        system="<start_of_turn>system\n{system}<end_of_turn>\n",
        user="<start_of_turn>user\n{input}<end_of_turn>\n",
        assistant="<start_of_turn>model\n",
        stop="<end_of_turn>",
        separator="\n",
        tokens=("<start_of_turn>", "<end_of_turn>"),
    ),
    "cohere_chat": Spans(
        system="<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{system}<|END_OF_TURN_TOKEN|>",
        user="<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{input}<|END_OF_TURN_TOKEN|>",
        assistant="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        stop="<|END_OF_TURN_TOKEN|>",
        tokens=("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"),
    ),
    "llama3_chat": Spans(
        system="<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{input}<|eot_id|>",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
        stop="<|eot_id|>",
        tokens=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "phi3_chat": Spans(
        system="<|system|>\n{system}<|end|>\n",
        user="<|user|>\n{input}<|end|>\n",
        assistant="<|assistant|>\n",
        stop="<|end|>",
        separator="\n",
        tokens=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    ),
}

BREAK = "\u200b"  # the declared rule: a zero-width space after the first character of a plain-text marker inside content


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTemplate:
    """A set of spans bound to a tokenizer."""

    name: str
    spans: Spans
    stop: str
    stop_ids: frozenset[int]
    adds_bos: bool = True
    observation_role: str = "system"
    lead: str = ""

    @classmethod
    def bind(cls, name: str, tokenizer: Tokenizer) -> NamedTemplate:
        """The named spans for this tokenizer. Raises `UserError` where a stop or role token is not one token of the vocabulary."""
        spans = NAMED[name]
        missing = [token for token in spans.tokens if tokenizer.special_id(token) is None]
        if missing:
            raise UserError(
                f'template "{name}" needs {", ".join(missing)}, which {tokenizer.name} has not as a token; use another template'
            )
        stop_id = tokenizer.special_id(spans.stop) if spans.stop else tokenizer.eos_id
        if stop_id is None:
            raise UserError(f'template "{name}" ends an output with the end-of-sequence token, and {tokenizer.name} has none')
        stop = spans.stop or tokenizer.decode([stop_id])
        ends = {stop_id} | ({tokenizer.eos_id} if tokenizer.eos_id is not None else set())
        return cls(name=name, spans=spans, stop=stop, stop_ids=frozenset(ends))

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop's text."""
        return (self.stop,)

    def content(self, text: str) -> str:
        """`text` with every plain-text marker of this template broken."""
        for marker in self.spans.plain:
            text = text.replace(marker, marker[0] + BREAK + marker[1:])
        return text

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """Spans of each turn that has content, the assistant header, the output and its stop."""
        found: list[Piece] = []
        for index, turn in enumerate(turns):
            last = index == len(turns) - 1
            found += self._span(self.spans.system, "{system}", turn.system, "system", index)
            found += self._span(self.spans.user.replace("{round}", str(index + 1)), "{input}", turn.input, "user", index)
            if turn.output or last:
                found.append(Piece(text=self.spans.assistant, kind="header", turn=index))
            if turn.output:
                found.append(Piece(text=self.content(turn.output), kind="output", turn=index))
                found.append(Piece(text=self.stop, kind="stop", turn=index))
                if not last:
                    found.append(Piece(text=self.spans.separator, kind="header", turn=index))
        return [piece for piece in found if piece.text]

    def coverage(self, turns: Sequence[Turn]) -> tuple[Coverage, ...]:
        """See `Template.coverage`: one rendering, for nothing is ever rewritten."""
        answered = [index for index, turn in enumerate(turns) if turn.output]
        return (Coverage(turns=answered[-1] + 1, trained=frozenset(answered)),) if answered else ()

    def dropped(self, turns: Sequence[Turn]) -> int:
        """See `Template.dropped`."""
        return 0

    def keeps_reasoning(self) -> str:
        """See `Template.keeps_reasoning`."""
        return "all"

    def read(self, text: str) -> str:
        """See `Template.read`."""
        return text

    def _span(self, span: str, slot: str, text: str, kind: PieceKind, turn: int) -> list[Piece]:
        if not text:
            return []
        before, _, after = span.partition(slot)
        return [
            Piece(text=before, kind="header", turn=turn),
            Piece(text=self.content(text), kind=kind, turn=turn),
            Piece(text=after, kind="header", turn=turn),
        ]
