"""Weights of large checkpoints, one tensor at a time: read from safetensors or pickled shards, written as safetensors shards.

Nothing here holds more than a shard: files are mapped into memory, and a shard is written when it is full. A pickled shard is read by
`torch.load` with ``weights_only=True`` alone, which builds tensors and plain containers and refuses to call anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.files import write_text

SHARD = 2 << 30  # bytes


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint: its safetensors, else its pickled shards (``pytorch_model*.bin``)."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def read_tensors(file: Path) -> Iterator[tuple[str, Any]]:
    """(name, tensor on CPU) of one weight file. Raises `UserError` for one that cannot be read, or holds anything but tensors."""
    yield from _safe(file) if file.suffix == ".safetensors" else _pickled(file)


def _safe(file: Path) -> Iterator[tuple[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118  # not a dict
                yield name, opened.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise UserError(f"cannot read the weights {file}: {error}") from error


def _pickled(file: Path) -> Iterator[tuple[str, Any]]:
    import torch

    try:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # the older format, which cannot be mapped
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle's own errors and many others; whatever it is, nothing of the file was run
        raise UserError(f"{file} is not read: it holds more than weights, or is damaged ({_first(error)})") from error
    if not isinstance(state, dict) or not all(isinstance(one, torch.Tensor) for one in state.values()):
        raise UserError(f"{file} is not read: it must hold named tensors only")
    yield from state.items()


def _first(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split())[:160] or type(error).__name__


def write_tensors(folder: Path, tensors: Iterable[tuple[str, Any]], shard: int = SHARD) -> None:
    """Writes tensors as ``model-00001.safetensors``, … of about `shard` bytes each, and their index."""
    places: dict[str, str] = {}
    total = 0
    for number, part in enumerate(_parts(tensors, shard), 1):
        name = f"model-{number:05}.safetensors"
        total += _write(folder / name, part)
        places |= dict.fromkeys(part, name)
        part.clear()  # before the next one is filled
    index = {"metadata": {"total_size": total}, "weight_map": places}
    write_text(folder / "model.safetensors.index.json", json.dumps(index, indent=1) + "\n")


def _parts(tensors: Iterable[tuple[str, Any]], shard: int) -> Iterator[dict[str, Any]]:
    part: dict[str, Any] = {}
    size = 0
    for name, tensor in tensors:
        if part and size + tensor.nbytes > shard:
            yield part
            part, size = {}, 0
        part[name] = _alone(tensor)
        size += tensor.nbytes
        del tensor
    if part:
        yield part


def _alone(tensor: Any) -> Any:
    """The tensor in memory of its own: views of one storage cannot be written, and would keep all of it."""
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if whole else tensor.contiguous().clone()


def _write(path: Path, part: dict[str, Any]) -> int:
    from safetensors.torch import save_file

    save_file(part, path, metadata={"format": "pt"})
    return sum(tensor.nbytes for tensor in part.values())
