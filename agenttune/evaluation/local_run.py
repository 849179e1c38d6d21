"""An evaluation of a model on this machine: what it is, what it was trained with, and what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttune import __version__
from agenttune.evaluation.evaluate import EvaluationEvent
from agenttune.evaluation.generation_cache import GenerationCache
from agenttune.evaluation.options import EvalOptions, other_than
from agenttune.evaluation.predict import ModelPredictor, Prompts
from agenttune.evaluation.run_folder import read_meta
from agenttune.files import file_hash, write_text
from agenttune.values.tokens import SamplingParams

if TYPE_CHECKING:
    from agenttune.models.hf import HFModel
    from agenttune.templates import Template

# Of a model's or adapter's folder: what decides its outputs.
WEIGHTS = ("*.safetensors", "adapter_config.json")
TOKENIZER = ("tokenizer*", "*.model", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model with the template it is asked in, and what its adapter's card says where the options say otherwise."""

    model: HFModel
    template: Template
    card_ignored: Mapping[str, str]

    @property
    def protocol(self) -> str | None:
        """The protocol of the adapter's card."""
        return self.model.card.protocol if self.model.card else None


def load(options: EvalOptions) -> Loaded:
    """The model and its adapter. Raises `UserError` where the options are not the card's, unless that is wanted."""
    from agenttune import models, templates

    dtype = options.dtype if options.overwrite else begun_dtype(options.out, options.dtype)
    model = models.load(options.model, adapter=options.adapter, device=options.device, dtype=dtype, bits=options.bits)
    card = model.card
    other = other_than(card, options)
    template = templates.load_for(card, options.template or (card.template if card else "auto"), model.tokenizer)
    return Loaded(model=model, template=template, card_ignored=other)


def begun_dtype(out: Path, dtype: str) -> str:
    """The number format that the run in `out` was begun in, where none is asked for: ``auto`` measures, and may choose anew."""
    begun = read_meta(out).get("dtype")
    return begun if dtype == "auto" and isinstance(begun, str) else dtype


def made_by(model: HFModel, options: EvalOptions) -> dict[str, Any]:
    """What a run's ``meta`` says of the model."""
    return {
        "fingerprint": model.fingerprint,
        "weights_hash": files_hash(Path(options.model), WEIGHTS),
        "adapter": options.adapter or "",
        "adapter_hash": files_hash(Path(options.adapter), WEIGHTS) if options.adapter else "",
        "dtype": str(model.hf.dtype).removeprefix("torch."),
        "device": str(model.hf.device),
        "bits": options.bits or 0,
    }


def files_hash(place: Path, patterns: tuple[str, ...]) -> str:
    """Hashes of a file, or of the files of a folder that fit a pattern, by name; empty where there is none."""
    files = [place] if place.is_file() else sorted({one for pattern in patterns for one in place.glob(pattern) if one.is_file()})
    return ",".join(file_hash(one)[:16] for one in files)


def predictor(
    loaded: Loaded, options: EvalOptions, prompts: Prompts, most: int, events: Callable[[EvaluationEvent], None] | None
) -> ModelPredictor:
    """What asks the model, at most `most` new tokens a reply; by way of the generation cache unless that is unwanted."""
    return ModelPredictor(
        model=loaded.model,
        template=loaded.template,
        sampling=SamplingParams(max_new_tokens=most),
        constrain=bool(options.constrain),
        prompts=prompts.ids,
        cache=None if options.no_cache else GenerationCache(),
        decides={} if options.no_cache else _decides(loaded.model, options),
        events=events,
    )


def _decides(model: HFModel, options: EvalOptions) -> dict[str, Any]:
    """What decides a reply but its prompt and the decoding: contents, never names, but for the suite's."""
    from agenttune.models.locate import is_adapter

    assert model.folder is not None, "a model that was loaded by its name"
    adapter = options.adapter or (options.model if is_adapter(options.model) else None)
    return {
        "version": __version__,
        "weights": files_hash(model.folder, WEIGHTS),
        "tokenizer": files_hash(model.folder, TOKENIZER),
        "adapter": files_hash(Path(adapter), WEIGHTS) if adapter else "",
        "argument_orders": repr(model.card.argument_orders) if model.card else "",  # a constrained call follows them
        "dtype": str(model.hf.dtype),
        "bits": options.bits or 0,
        "device": model.hf.device.type,
        "suite": options.suite,
    }


def write_usage(out: Path, predict: ModelPredictor, seconds: float) -> None:
    """``usage.json``: what this command asked of the model, apart from the report, which says the same however often it was made."""
    work = predict.work
    if work.generated or work.from_cache:
        counted = {name: value for name, value in asdict(work).items() if name != "waits"}
        told = {**counted, "seconds": round(seconds, 3), "reply_seconds": work.latency()}
        write_text(out / "usage.json", json.dumps(told))
