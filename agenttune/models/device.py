"""Where a model runs, and in which number format."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from agenttune.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16")
# A product that is so many times faster leaves something over for casts and elementwise work: at 2.5 a training step gained 1.47 times.
GAIN = 1.8


def pick_device(name: str) -> str:
    """``cpu``, ``cuda`` or ``mps``; ``auto`` takes what there is. Raises `UserError` for a device that is not there."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if there[device])
    if name not in there:
        raise UserError(f'there is no device "{name}"{nearest(name, DEVICES)}; it must be one of {", ".join(DEVICES)}')
    if not there[name]:
        raise UserError(f"this machine, or this build of torch, has no {name} device; use --device auto or cpu")
    return name


def pick_dtype(name: str, device: str) -> torch.dtype:
    """The torch dtype; ``auto`` is bfloat16 where it is fast (measured, on a CPU), else float32. Raises `UserError` for an unknown name."""
    import torch

    if name == "auto":
        return torch.bfloat16 if _bfloat16_pays(device) else torch.float16 if device == "cuda" else torch.float32
    if name not in DTYPES:
        raise UserError(f'there is no dtype "{name}"{nearest(name, DTYPES)}; it must be one of {", ".join(DTYPES)}')
    found: torch.dtype = getattr(torch, name)
    return found


def _bfloat16_pays(device: str) -> bool:
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and speed_ratio() >= GAIN


@cache
def speed_ratio() -> float:
    """How many times faster than float32 a bfloat16 matrix product is on this CPU: measured once a process, in about 150 ms."""
    import torch

    rounds = [(_seconds(torch.float32), _seconds(torch.bfloat16)) for _ in range(3)]  # in turn: other work on the machine comes and goes
    return min(one for one, _ in rounds) / min(two for _, two in rounds)


def _seconds(dtype: torch.dtype) -> float:
    """The best of a few products of the size of a small model's layer, after one to warm up."""
    import torch

    left, right = torch.ones((256, 576), dtype=dtype), torch.ones((576, 1536), dtype=dtype)
    best = float("inf")
    end = time.perf_counter() + 0.025
    _ = left @ right
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        _ = left @ right
        best = min(best, time.perf_counter() - start)
    return best
