"""What a run will need, before it runs: an estimate for each way of sharding, the largest pack, what to say when memory ran out."""

from __future__ import annotations

import os
import re
import resource
from dataclasses import dataclass, replace

from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.models.device import pick_device
from agenttune.training.memory.estimate import OFFLOAD, STAGES, MemoryItem, device_bytes, host_bytes, memory_items
from agenttune.training.memory.model_shape import ModelShape, shape_of
from agenttune.training.memory.settings import MemorySettings, memory_settings

GIB = 1 << 30
STEP, MOST = 64, 1 << 20  # tokens: budgets are looked for in steps, up to a million


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """One way of sharding: its items on each device and, where the memory is known, the tokens of the largest pack that fits (0: none)."""

    stage: str
    items: tuple[MemoryItem, ...]
    largest_pack: int | None = None

    @property
    def total(self) -> int:
        """Bytes on a device in all."""
        return device_bytes(self.items)

    @property
    def host(self) -> int:
        """Bytes in the host's memory for a device."""
        return host_bytes(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """A run's estimates. `totals_toggled`: the totals without checkpointing where the run checkpoints, with it where it does not."""

    shape: ModelShape
    settings: MemorySettings
    gpus: int
    memory: int | None
    estimates: tuple[MemoryEstimate, ...]
    totals_toggled: tuple[int, ...]


def plan_memory(config: TrainConfig, *, gpus: int = 1, memory: int | None = None, tokens: int | None = None) -> MemoryPlan:
    """The estimates of a config over `gpus` devices of `memory` bytes each, from its shape. Raises `UserError` where that is not known."""
    if gpus < 1:
        raise UserError(f"--gpus must be 1 or more, not {gpus}")
    shape, settings = shape_of(config), memory_settings(config, tokens=tokens)
    stages = [stage for stage in STAGES if stage != ("data parallel" if gpus == 1 else "one GPU")]
    if not settings.gpu:  # there is but one memory
        stages = [stage for stage in stages if not stage.endswith(OFFLOAD)]
    estimates = tuple(
        MemoryEstimate(
            stage=stage,
            items=memory_items(shape, settings, stage=stage, gpus=gpus),
            largest_pack=None if memory is None else largest_pack(shape, settings, memory, stage=stage, gpus=gpus),
        )
        for stage in stages
    )
    toggled = replace(settings, checkpointing=not settings.checkpointing)
    totals = tuple(device_bytes(memory_items(shape, toggled, stage=stage, gpus=gpus)) for stage in stages)
    return MemoryPlan(shape=shape, settings=settings, gpus=gpus, memory=memory, estimates=estimates, totals_toggled=totals)


def largest_pack(shape: ModelShape, settings: MemorySettings, memory: int, *, stage: str = "one GPU", gpus: int = 1) -> int:
    """The most tokens of a pack that fit into `memory` bytes, a multiple of 64; 0 where none do."""

    def fits(tokens: int) -> bool:
        supervised = round(tokens * settings.supervised / settings.tokens)
        return device_bytes(memory_items(shape, replace(settings, tokens=tokens, supervised=supervised), stage=stage, gpus=gpus)) <= memory

    low, high = 0, MOST // STEP
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * STEP) else (low, middle - 1)
    return low * STEP


def what_would_fit(config: TrainConfig, memory: int, *, gpus: int = 1, stage: str = "one GPU") -> str:
    """What to change so that a run fits into `memory` bytes a device, in one sentence; for a run that ran out of it.

    `stage` is one of `STAGES`. Never raises: where the shape is not known it says so.
    """
    try:
        shape = shape_of(config)
    except UserError as error:
        return str(error)
    settings = memory_settings(config)
    found = []
    for change, tried in _changes(settings):
        tokens = largest_pack(shape, tried, memory, stage=stage, gpus=gpus)
        if tokens >= STEP * 2:
            found.append(" ".join([*change, _budget(tokens, config)]))
    need = device_bytes(memory_items(shape, settings, stage=stage, gpus=gpus))
    said = f"by agenttune plan a pack of {settings.tokens:,} tokens needs about {need / GIB:.1f} GiB and {memory / GIB:.1f} GiB are there"
    if need <= memory:
        return f"{said}, which is enough: look for what else takes memory, or take a smaller pack"
    return f"{said}; this would fit: {', or '.join(found[:2])}" if found else f"{said}; nothing smaller fits"


def what_would_fit_here(config: TrainConfig) -> str:
    """`what_would_fit` for this process's device and number of processes."""
    gpus = int(os.environ.get("WORLD_SIZE", "1"))
    device = pick_device(config.device)
    named = re.search(r"(zero[123])(_offload)?", str(config.trainer.get("deepspeed") or ""))
    away = named[2] or "" if named and device != "cpu" else ""
    stage = f"{named[1]}{away}" if named else "data parallel" if gpus > 1 else "one GPU"
    return what_would_fit(replace(config, device=device), memory_here(device), gpus=gpus, stage=stage)


def memory_here(device: str) -> int:
    """Bytes that a process may use on `device` (cpu, cuda or mps): the GPU's, else physical memory, or what a limit leaves of it."""
    import torch

    if device == "cuda":
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return there if limit == resource.RLIM_INFINITY else min(there, limit)


def _changes(settings: MemorySettings) -> list[tuple[list[str], MemorySettings]]:
    """Ways to need less, the mildest first: a smaller pack, gradient checkpointing, a quantised base."""
    light, kind = ["trainer.gradient_checkpointing=true"], replace(settings, checkpointing=True)
    changes: list[tuple[list[str], MemorySettings]] = [([], settings)]
    if not settings.checkpointing:
        changes.append((light, kind))
    if settings.method in ("lora", "dora", "full"):
        changes.append((["method=qlora", *([] if settings.checkpointing else light)], replace(kind, method="qlora")))
    return changes


def _budget(tokens: int, config: TrainConfig) -> str:
    """A pack holds one sample at least, so a budget below ``length`` bounds that too."""
    wanted = min(tokens, max(config.pack_tokens, config.length))
    return f"pack_tokens={wanted}" if wanted >= config.length else f"pack_tokens={wanted} length={wanted}"
