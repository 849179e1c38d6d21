"""A checkpoint of DeepSpeed's ranks, which wait for each other while they write: what one could not write, all give up together.

`collective_engine` replaces the attribute ``checkpoint_engine`` of DeepSpeed's engine, which DeepSpeed itself calls when it saves and
gives no argument for. `PackTrainer.save_model` calls it for the first file of a checkpoint; nobody else sets or reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from agenttune.training import failures

if TYPE_CHECKING:  # an extra
    from deepspeed import DeepSpeedEngine
    from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointCommitInfo, CheckpointEngine

LATEST = "latest"  # the file in which DeepSpeed names the newest of a folder's checkpoints


class CollectiveCheckpointEngine:
    """DeepSpeed's checkpoint engine (`inner`), which goes on where a disk is full: else the other ranks would wait for ever.

    `commit` is the first place, and the last before a barrier, that every rank reaches with its files written or not: there they
    agree whether one failed, and all raise.
    """

    def __init__(self, inner: CheckpointEngine, device: torch.device) -> None:
        self._inner, self._device = inner, device
        self._error: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def attempt(self, write: Callable[[], object]) -> None:
        """Writes; that there is no room is kept for `commit`."""
        try:
            write()
        except failures.WRITE_ERRORS as error:
            if not failures.is_disk_error(error):
                raise
            self._error = self._error or error

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """See DeepSpeed's `CheckpointEngine.makedirs`."""
        self.attempt(lambda: self._inner.makedirs(path, exist_ok=exist_ok))

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        """See DeepSpeed's `CheckpointEngine.save`."""
        self.attempt(lambda: self._inner.save(state_dict, path))

    def commit(self, info: CheckpointCommitInfo) -> bool:
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


def collective_engine(engine: DeepSpeedEngine, device: torch.device) -> CollectiveCheckpointEngine:
    """The `CollectiveCheckpointEngine` of a DeepSpeed engine, put in place where it is not yet."""
    if not isinstance(engine.checkpoint_engine, CollectiveCheckpointEngine):
        engine.checkpoint_engine = CollectiveCheckpointEngine(engine.checkpoint_engine, device)
        # Its scripts that join shards into weights: these lie in a checkpoint whole already, and the copy asks nobody.
        engine._copy_recovery_script = lambda save_path: None
    found: CollectiveCheckpointEngine = engine.checkpoint_engine
    return found
