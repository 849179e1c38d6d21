"""DeepSpeed's ZeRO (Rajbhandari et al., arXiv 1910.02054) by name: its settings, its process group, and what it cannot be combined with."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import io
import os
import shutil
import socket
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agenttune.config import TrainConfig
from agenttune.errors import UserError, nearest
from agenttune.files import read_json, shipped
from agenttune.models.library_messages import mute_deepspeed

PREFIX = "deepspeed_"  # the names are also known with this before them


def deepspeed_settings(config: TrainConfig) -> dict[str, Any] | None:
    """DeepSpeed's settings for a run, None where it does without. Raises `UserError` for a name, file or extra that is not there."""
    named = config.trainer.get("deepspeed")
    if named in (None, False, ""):
        return None
    if not isinstance(named, str):
        raise UserError(f"trainer.deepspeed must be a name such as zero2, or the path of a JSON file, not {named!r}")
    found = _read(_find(named))
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError("--deepspeed needs DeepSpeed, which is not installed: pip install 'agenttune[deepspeed]'")
    return found


def _find(name: str) -> Path:
    """A shipped name first, then a path."""
    folder = shipped("configs") / "deepspeed"
    known = sorted(one.stem for one in folder.glob("*.json"))
    if name.removeprefix(PREFIX) in known:
        return folder / f"{name.removeprefix(PREFIX)}.json"
    if not Path(name).is_file():
        raise UserError(f'there are no DeepSpeed settings "{name}"{nearest(name, known)}; shipped: {", ".join(known)}; or name a JSON file')
    return Path(name)


def _read(path: Path) -> dict[str, Any]:
    found = read_json(path, "the DeepSpeed settings", "are")
    if not isinstance(found, dict):
        raise UserError(f"the DeepSpeed settings {path} must be a JSON object")
    if not isinstance(found.get("zero_optimization", {}), dict):
        raise UserError(f'"zero_optimization" in {path} must be an object')
    return found


def zero_stage(settings: Mapping[str, Any] | None) -> int:
    """The ZeRO stage, 0 without DeepSpeed."""
    return int((settings or {}).get("zero_optimization", {}).get("stage", 0))


def quiet_deepspeed(device: str) -> None:
    """Silences what DeepSpeed says at its import and is known; to be called before that."""
    mute_deepspeed(device)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed|deepspeed")


def join_process_group(device: str) -> dict[str, Any]:
    """Initialises DeepSpeed's process group; returns the fields that `TrainingArguments` needs for it.

    A process that no launcher started is a world of one. On a CPU accelerate would not let DeepSpeed in, so the group is made here, with
    the gloo backend, and accelerate is given what is there. What is set lives in the environment and in accelerate's global state,
    which both libraries read; there is no argument for either.
    """
    if shutil.which("ninja") is None:  # DeepSpeed builds with it; it may lie beside a Python whose folder is not on the path
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    if "LOCAL_RANK" not in os.environ:
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    if device != "cpu":
        return {}
    _init_gloo()
    return {"accelerator_config": {"use_configured_state": True}}


def in_process_group() -> bool:
    """Whether this process is in a process group of several."""
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1


def leave_process_group_at_exit() -> None:
    """Destroys the process group of a run that ended well when Python ends: left to the interpreter's teardown, gloo's threads may abort.

    A rank that failed must not: the others may wait in a collective, and destroying the group would wait for them.
    """
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _init_gloo() -> None:
    import torch
    from accelerate import DistributedType
    from accelerate.state import AcceleratorState, PartialState

    if torch.cuda.is_available():
        raise UserError("DeepSpeed would take the GPU: with device=cpu, hide it by CUDA_VISIBLE_DEVICES=")
    import deepspeed

    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState(cpu=True).distributed_type = DistributedType.DEEPSPEED
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of an extension that it builds
            deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"DeepSpeed builds an extension for ranks on a CPU, which needs a C++ compiler such as g++: {said}") from error


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
