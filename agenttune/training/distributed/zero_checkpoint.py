"""A checkpoint of DeepSpeed's ranks, which wait for each other while they write: what one could not write, all give up together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from agenttune.training import checkpoint

LATEST = "latest"  # the file in which DeepSpeed names the newest of a folder's checkpoints


class Patient:
    """DeepSpeed's checkpoint engine (`inner`), which goes on where a disk does not: the ranks behind would wait for ever.

    `commit` is the first place, and the last before a barrier, where every rank comes to with its files written or not: there they
    agree, and raise alike.
    """

    def __init__(self, inner: Any, device: Any) -> None:
        self._inner, self._device = inner, device
        self._error: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def attempt(self, write: Callable[[], Any]) -> None:
        """Writes; that there is no room is kept for `commit`."""
        try:
            write()
        except checkpoint.WRITING as error:
            if not checkpoint.no_disk(error):
                raise
            self._error = self._error or error

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """See DeepSpeed's `CheckpointEngine.makedirs`."""
        self.attempt(lambda: self._inner.makedirs(path, exist_ok=exist_ok))

    def save(self, state_dict: Any, path: str) -> None:
        """See DeepSpeed's `CheckpointEngine.save`."""
        self.attempt(lambda: self._inner.save(state_dict, path))

    def commit(self, info: Any) -> bool:
        """See DeepSpeed's `CheckpointEngine.commit`. Raises `OSError` in every rank where one of them lacks a file."""
        if torch.distributed.get_rank() == 0:  # DeepSpeed writes this one without asking
            self.attempt(lambda: (Path(info.save_dir) / LATEST).write_text(str(info.tag), encoding="utf-8"))
        error, self._error = self._error, None
        flag = torch.tensor(int(error is not None), device=self._device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        if bool(flag):
            raise OSError(str(error) if error else ELSEWHERE) from error
        return bool(self._inner.commit(info))


ELSEWHERE = "another process could not write its part"


def patient(engine: Any, device: Any) -> Patient:
    """The `Patient` of a DeepSpeed engine, put in place where it is not."""
    if not isinstance(engine.checkpoint_engine, Patient):
        engine.checkpoint_engine = Patient(engine.checkpoint_engine, device)
        # Its scripts that join shards into weights: these lie in a checkpoint whole already, and the copy asks nobody.
        engine._copy_recovery_script = lambda save_path: None
    found: Patient = engine.checkpoint_engine
    return found
