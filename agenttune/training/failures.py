"""What can end a run from outside, as one sentence for a person: memory, a port, another process of the run, a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from safetensors import SafetensorError

from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.training.memory.planning import what_would_fit_here

# What allocators, and the transports under PyTorch's collectives, write; none of them has an exception of its own everywhere.
MEMORY = ("can't allocate memory", "out of memory", "cannot allocate memory")
GONE = ("connection closed by peer", "connection reset by peer", "socket closed", "broken pipe", "remote process exited")
WRITE_ERRORS = (OSError, RuntimeError, UserError, SafetensorError)  # what a write that fails may raise
LATE = ("timed out waiting", "timed out after", "timeout", "wait timeout")


@contextlib.contextmanager
def as_user_errors(config: TrainConfig, fitted: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Turns such an end into a `UserError`; `fitted` gives the tokens of the largest Pack that has been trained on so far."""
    try:
        yield
    except MemoryError as error:
        raise UserError(out_of_memory_sentence(config, fitted())) from error
    except RuntimeError as error:
        said = failure_sentence(error, config, fitted())
        if said is None:
            raise
        raise UserError(said) from error


def failure_sentence(error: RuntimeError, config: TrainConfig, fitted: int) -> str | None:
    """The sentence for an error of PyTorch's, None for one that is a mistake of ours."""
    words = str(error).lower()
    if type(error).__name__ == "OutOfMemoryError" or any(one in words for one in MEMORY):
        return out_of_memory_sentence(config, fitted)
    if address_in_use(error):
        port = os.environ.get("MASTER_PORT", "")
        return f"port {port} is in use, by another run perhaps; name another to the launcher (torchrun --master_port N, or MASTER_PORT)"
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and any(one in words for one in GONE + LATE):
        return f"another process of this run has ended (what it said is the reason); {_go_on(config)}"
    return None


def address_in_use(error: BaseException) -> bool:
    """Whether an address could not be taken because another process has it."""
    said = str(error).lower()
    return getattr(error, "errno", None) == errno.EADDRINUSE or "eaddrinuse" in said or "address already in use" in said


def out_of_memory_sentence(config: TrainConfig, fitted: int) -> str:
    """What would need less, the cheapest first; a Pack of `fitted` tokens did fit."""
    advice = [f"pack_tokens={fitted if 0 < fitted < config.pack_tokens else max(config.pack_tokens // 2, 1)}"]
    if not config.checkpointing:
        advice.append("trainer.gradient_checkpointing=true")
    if config.method != "qlora":
        advice.append("method=qlora")
    seen = f" (a Pack of {fitted:,} tokens did fit)" if fitted else ""
    tried = f"out of memory with pack_tokens={config.pack_tokens}{seen}; less is needed with {', '.join(advice)}"
    return f"{tried}; {what_would_fit_here(config)}"


def _go_on(config: TrainConfig) -> str:
    return f"--resume goes on from the newest checkpoint in {config.output}"


def is_disk_error(error: BaseException) -> bool:
    """Whether a write failed for want of space or of a disk; PyTorch and safetensors say so in their own words."""
    words = str(error).lower()
    said = ("no space", "writing file", "file write failed", "os error", "i/o error", "file too large", "unexpected pos")
    return isinstance(error, OSError) or isinstance(error.__cause__, OSError) or any(one in words for one in said)
