"""A peer's own mask: ``python mask_peer.py trl|xtuner IN OUT``. Reads tokenizers and conversations, writes ids and trained flags."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any


def main(peer: str, given: str, out: str) -> None:
    """A line in: tokenizer folder, messages or conversation. A line out: ``{"name": {"ids", "trained"}}`` or ``{"error"}``."""
    from transformers import AutoTokenizer

    masks = trl if peer == "trl" else xtuner
    lines = []
    for line in Path(given).read_text(encoding="utf-8").splitlines():
        job = json.loads(line)
        try:
            lines.append(json.dumps(masks(AutoTokenizer.from_pretrained(job["tokenizer"]), job)))
        except Exception as error:  # what a peer raises is its answer
            lines.append(json.dumps({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}))
    Path(out).write_text("\n".join(lines) + "\n", encoding="utf-8")


def trl(tokenizer: Any, job: dict[str, Any]) -> dict[str, Any]:
    """TRL's training template where it has one for this template, and its default, which trains everything."""
    from trl.chat_template_utils import get_training_chat_template
    from trl.trainer.sft_trainer import _tokenize

    form = get_training_chat_template(tokenizer)
    made = _tokenize(tokenizer, job["messages"], return_assistant_tokens_mask=True, chat_template=form)
    whole = _tokenize(tokenizer, job["messages"])["input_ids"]
    return {
        "assistant_only_loss": {"ids": made["input_ids"], "trained": [bool(one) for one in made["assistant_masks"]]},
        "default": {"ids": whole, "trained": [True] * len(whole)},
    }


def xtuner(tokenizer: Any, job: dict[str, Any]) -> dict[str, Any]:
    """XTuner's `template_map_fn` and `encode_fn`, read from their files: mmengine, which they only take a dict from, is not needed."""
    folder = Path(next(one for one in sys.path if (Path(one) / "xtuner" / "dataset" / "utils.py").is_file())) / "xtuner"
    config = types.ModuleType("mmengine.config")
    config.ConfigDict = _Dict  # type: ignore[attr-defined]
    misc = types.ModuleType("mmengine.utils.misc")
    misc.get_object_from_string = None  # type: ignore[attr-defined]
    named = {one: types.ModuleType(one) for one in ("mmengine", "mmengine.utils", "xtuner")}
    sys.modules.update({**named, "mmengine.config": config, "mmengine.utils.misc": misc})
    constants, templates = _file("constants", folder / "utils/constants.py"), _file("templates", folder / "utils/templates.py")
    utils = types.ModuleType("xtuner.utils")
    utils.__dict__.update(constants.__dict__)
    sys.modules["xtuner.utils"] = utils
    form = getattr(templates.PROMPT_TEMPLATE, job["template"])
    mapped = _file("map", folder / "dataset/map_fns/template_map_fn.py").template_map_fn({"conversation": job["conversation"]}, form)
    made = _file("dataset", folder / "dataset/utils.py").encode_fn(mapped, tokenizer, 1 << 20)
    return {"encode_fn": {"ids": made["input_ids"], "trained": [label >= 0 for label in made["labels"]]}}


class _Dict(dict[str, Any]):
    """What mmengine's ConfigDict is to templates: keys as attributes."""

    def __getattr__(self, name: str) -> Any:
        value = self[name]
        return _Dict(value) if isinstance(value, dict) else value


def _file(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"peer_{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])
