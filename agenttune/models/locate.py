"""Where a model named by a person lies: the embedded one, a folder, a GGUF file, an InternLM checkpoint, or the hub's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from agenttune.errors import UserError, nearest
from agenttune.models import internlm
from agenttune.models.gguf import EMBEDDED, embedded, folder_of

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WANTED = ["*.json", "*.jinja", "*.txt", "*.model"]  # no code, no pickles
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")  # enough where only a tokenizer is wanted
_WEIGHTS = ["*.safetensors"]
_PICKLED = ["pytorch_model*.bin"]  # of InternLM only, whose first models are published in no other form; read as weights alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLocation:
    """A model's folder and the name it was asked for by."""

    name: str
    folder: Path
    hub: bool = False

    @property
    def known_as(self) -> str:
        """What other libraries on this machine find the model by: its hub id, else its folder."""
        return self.name if self.hub else str(self.folder)

    def need_safetensors(self) -> None:
        """Raises `UserError` for a folder without safetensors weights."""
        if any(self.folder.glob("*.safetensors")):
            return
        pickled = any(one for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for one in self.folder.glob(kind))
        if pickled:
            raise UserError(f"the model {self.name} has only pickled weights, which are never read; convert them to safetensors")
        raise UserError(f"the model folder {self.folder} has no *.safetensors weights")


def is_adapter(name: str) -> bool:
    """Whether this is a folder of a PEFT adapter."""
    return (Path(name) / "adapter_config.json").is_file()


def locate(name: str, *, weights: bool = True, remote_code: bool = False) -> ModelLocation:
    """The model's folder, made or fetched where needed; without `weights` it may hold the tokenizer alone.

    `remote_code` fetches a checkpoint's own code too. Raises `UserError` that says what to do.
    """
    path = Path(name).expanduser()
    if name == EMBEDDED:
        return ModelLocation(name=name, folder=folder_of(embedded()))
    if path.is_dir():
        return _as_llama(_folder(name, path, weights), weights)
    if path.is_file():
        if path.suffix != ".gguf":
            raise UserError(f"{name} is a file but no .gguf; a model is a folder, a .gguf file, {EMBEDDED}, or a hub id")
        return ModelLocation(name=name, folder=folder_of(path))
    if path.suffix == ".gguf" or not _HUB_ID.fullmatch(name):
        raise UserError(
            f"there is no model {name}{nearest(name, [EMBEDDED])}; give {EMBEDDED}, a folder, a .gguf file, or a hub id org/name"
        )
    return _as_llama(_from_hub(name, weights, remote_code), weights)


def _as_llama(place: ModelLocation, weights: bool) -> ModelLocation:
    """An InternLM checkpoint's place is the Llama made of it; any other stays as it is."""
    if not internlm.is_internlm(place.folder):
        return place
    return ModelLocation(name=place.name, folder=internlm.folder_of(place.folder, weights=weights))


def _folder(name: str, path: Path, weights: bool) -> ModelLocation:
    if is_adapter(name):
        raise UserError(f"{name} is an adapter, not a model; name its base as the model and this folder as the adapter")
    if not weights and all((path / one).is_file() for one in _TOKENIZER):
        return ModelLocation(name=name, folder=path)
    if not (path / "config.json").is_file():
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1:
            return ModelLocation(name=name, folder=folder_of(files[0]))
        raise UserError(f"the folder {name} holds no model: it has no config.json")
    return ModelLocation(name=name, folder=path)


def _from_hub(name: str, weights: bool, remote_code: bool) -> ModelLocation:
    folder = _fetched(name, [*_WANTED, *(_WEIGHTS if weights else []), *(["*.py"] if remote_code else [])])
    if weights and not any(folder.glob("*.safetensors")) and internlm.is_internlm(folder):
        folder = _fetched(name, [*_WANTED, *_PICKLED])
    return ModelLocation(name=name, folder=folder, hub=True)


def _fetched(name: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, HfHubHTTPError, ValueError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"there is no folder {name}, and the hub did not give a model of that name ({first[:200]}); "
            "check the name, or download it on a machine that reaches the hub and give the folder"
        ) from error
