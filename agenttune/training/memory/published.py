"""Published figures of memory, beside what the plan says: nothing is fitted to them, and each difference is given with its cause.

Sources: XTuner's announcement (InternLM-20B, QLoRA, Alpaca: 24 GB with ZeRO-2 where it was 29 GB) and its config of v0.1.5 (rank 64,
2,048 tokens, 32-bit paged AdamW, checkpointing); LLaMA-Factory's README, hardware table, row QLoRA 4-bit (7B 6 GB, 14B 12 GB,
30B 24 GB, 70B 48 GB), which states neither rank nor length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agenttune.training.memory.estimate import device_bytes, memory_items
from agenttune.training.memory.model_shape import ModelShape
from agenttune.training.memory.settings import MemorySettings

GB = 1e9
_QLORA = MemorySettings(
    method="qlora", rank=64, tokens=2048, supervised=2048, half=True, checkpointing=True, accumulation=16, state=8.0
)  # as the seed's config has it
_SMALL = replace(_QLORA, rank=8, tokens=1024, supervised=1024, accumulation=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """A published figure and the plan's, in GB, with what makes the difference."""

    what: str
    published: float
    planned: float
    why: str


def published_figures() -> tuple[PublishedFigure, ...]:
    """Every published figure that is known, with the plan's beside it."""
    return (*_seed(), *_table())


def _shape(hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int, vocabulary: int) -> ModelShape:
    return ModelShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_size=hidden // heads,
        intermediate=intermediate,
        vocabulary=vocabulary,
    )


def _seed() -> tuple[PublishedFigure, ...]:
    shape = _shape(5120, 60, 40, 40, 13824, 103168)
    plain, zero = (device_bytes(memory_items(shape, _QLORA, stage=stage)) / GB for stage in ("one GPU", "zero2"))
    logits = 10 * _QLORA.tokens * shape.vocabulary / GB  # a 16-bit and two float32 copies of [T, V]
    whole = 2 * shape.embedding_parameters / GB  # float32 in place of 16 bits
    many = [device_bytes(memory_items(shape, _QLORA, stage=stage, gpus=8)) / GB for stage in ("data parallel", "zero2")]
    return (
        PublishedFigure(
            what="InternLM-20B QLoRA, one GPU",
            published=29.0,
            planned=plain,
            why=f"there all logits are made at once (about {logits:.1f} GB), and embeddings and head are float32 ({whole:.1f} GB more); "
            f"here neither is so. {29 - plain - logits - whole:.1f} GB are not explained",
        ),
        PublishedFigure(
            what="the same with ZeRO-2",
            published=24.0,
            planned=zero,
            why=f"the near figure is chance: on one GPU ZeRO-2 shards nothing and adds a float32 copy of what is trained, so the "
            f"plan says {zero - plain:.1f} GB more where the seed measured 5 less, which it lays to 16-bit casting in place of autocast. "
            f"Over 8 GPUs the plan says {many[0]:.1f} GB without and {many[1]:.1f} GB with ZeRO-2",
        ),
    )


def _table() -> tuple[PublishedFigure, ...]:
    why = (
        "a table of round figures, about 0.7 to 0.9 GB a billion parameters, without rank, length or context; planned at rank 8 and 1,024 "
        "tokens with 0.6 GB of context. The larger the model, the more of it is NF4 (0.52 bytes a weight), which the table does not follow"
    )
    rows = (
        ("7B", 6.0, _shape(4096, 32, 32, 32, 11008, 32000)),
        ("14B", 12.0, _shape(5120, 40, 40, 40, 13696, 152064)),
        ("30B", 24.0, _shape(6656, 60, 52, 52, 17920, 32000)),
        ("70B", 48.0, _shape(8192, 80, 64, 8, 28672, 32000)),
    )
    return tuple(
        PublishedFigure(what=f"{name} QLoRA, 4-bit", published=said, planned=device_bytes(memory_items(shape, _SMALL)) / GB, why=why)
        for name, said, shape in rows
    )
