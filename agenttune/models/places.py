"""Where a model named by a person lies: the embedded one, a folder, a GGUF file, or the hub's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from agenttune.errors import UserError, nearest
from agenttune.models.gguf import EMBEDDED, embedded, folder_of

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]  # no code, no pickles


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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


def locate(name: str) -> Place:
    """The model's folder, made or fetched where needed. Raises `UserError` that says what to do."""
    path = Path(name).expanduser()
    if name == EMBEDDED:
        return Place(name=name, folder=folder_of(embedded()))
    if path.is_dir():
        return _folder(name, path)
    if path.is_file():
        if path.suffix != ".gguf":
            raise UserError(f"{name} is a file but no .gguf; a model is a folder, a .gguf file, {EMBEDDED}, or a hub id")
        return Place(name=name, folder=folder_of(path))
    if path.suffix == ".gguf" or not _HUB_ID.fullmatch(name):
        raise UserError(
            f"there is no model {name}{nearest(name, [EMBEDDED])}; give {EMBEDDED}, a folder, a .gguf file, or a hub id org/name"
        )
    return Place(name=name, folder=_from_hub(name), hub=True)


def _folder(name: str, path: Path) -> Place:
    if is_adapter(name):
        raise UserError(f"{name} is an adapter, not a model; name its base as the model and this folder as the adapter")
    if not (path / "config.json").is_file():
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1:
            return Place(name=name, folder=folder_of(files[0]))
        raise UserError(f"the folder {name} holds no model: it has no config.json")
    return Place(name=name, folder=path)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED))
    except (OSError, HfHubHTTPError, ValueError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"there is no folder {name}, and the hub did not give a model of that name ({first[:200]}); "
            "check the name, or download it on a machine that reaches the hub and give the folder"
        ) from error
