"""Models: ids in, ids out. Libraries are imported only when a model or a tokenizer is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agenttune.values.tokens import Tokenizer

if TYPE_CHECKING:
    from agenttune.models.hf import HFModel


def load(name: str, *, adapter: str | None = None, device: str = "auto", dtype: str = "auto", bits: int | None = None) -> HFModel:
    """A model by name: ``smollm2-135m``, a folder, a ``.gguf`` file, or a hub id; a folder of an adapter brings its base.

    `device` is auto, cpu, cuda or mps; `dtype` auto, float32, bfloat16 or float16; `bits` 4 or 8 quantises the base with
    bitsandbytes. Only safetensors are read (of InternLM, whose first models are published in no other form, pickled
    shards too, as tensors alone), and no code of a checkpoint is run. Raises `UserError` that says what to do.
    """
    from agenttune.models.hf import load_model

    return load_model(name, adapter, device, dtype, bits)


def load_many(
    name: str, adapters: Sequence[str | None], *, device: str = "auto", dtype: str = "auto", bits: int | None = None
) -> tuple[HFModel, ...]:
    """A model once with each of several adapters (None: without), over one copy of its weights. Else like `load`."""
    from agenttune.models.hf import load_models

    return load_models(name, adapters, device, dtype, bits)


def load_beside(base: HFModel, adapter: str) -> HFModel:
    """A loaded model with an adapter, computed beside its weights: both are used from now on, over one copy. Else like `load`."""
    from agenttune.models.hf import load_beside as load_over

    return load_over(base, adapter)


def base_and_adapter(name: str, adapter: str | None) -> tuple[str, str | None]:
    """The model and the adapter that are meant: where `name` is an adapter's folder alone, its base and it. Raises `UserError`."""
    from agenttune.models.hf import base_and_adapter as told_apart

    return told_apart(name, adapter)


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a model, without the model's weights. Raises `UserError` like `load`."""
    from agenttune.models.hf import load_tokenizer as load_from

    return load_from(name)
