"""What a step of training holds in memory at its peak, item by item, from a model's shape: arithmetic alone, no torch.

Sizes are bytes. Three constants (`AllocatorConstants`) say what no shape tells; they are fitted on three runs on a CPU and tested on
three others (``make bench BENCH=plan``), and on no published figure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agenttune.training.memory.activations import activation_bytes, logit_bytes, working_memory
from agenttune.training.memory.model_shape import ModelShape
from agenttune.training.memory.settings import MemorySettings

MMAP_THRESHOLD = 32 << 20  # bytes: glibc maps what is larger, and gives it back when it is freed (mallopt(3), M_MMAP_THRESHOLD)
BLOCK, NESTED = 64, 256  # NF4: weights of one scale, scales of one scale of scales (arXiv 2305.14314)
STAGES = ("one GPU", "data parallel", "zero1", "zero2", "zero2_offload", "zero3", "zero3_offload")
OFFLOAD = "_offload"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorConstants:
    """What no shape tells. `context`: bytes of the process before any weight. `slack`: what the allocator holds of the activations, as a
    factor on what is asked of it. `fragmentation`: what it holds of a base's dequantised weights, as a factor on all of them."""

    context: int
    slack: float
    fragmentation: float


CPU = AllocatorConstants(context=501 << 20, slack=1.58, fragmentation=3.43)  # glibc keeps freed blocks of a few megabytes
# The CUDA context with cuBLAS, and a caching allocator: not measured here.
GPU = AllocatorConstants(context=600 << 20, slack=1.0, fragmentation=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryItem:
    """A line of a memory estimate: `size` bytes on each device, or with `host` in the host's memory, for each device."""

    name: str
    size: int
    note: str = ""
    host: bool = False


def memory_items(shape: ModelShape, settings: MemorySettings, *, stage: str = "one GPU", gpus: int = 1) -> tuple[MemoryItem, ...]:
    """The memory estimate of one device. `stage` is one of `STAGES`; under ZeRO what is sharded is divided by `gpus`.

    With offload the optimizer works in the host's memory, on gradients that are sent there a bucket at a time; under ZeRO-3 the weights
    lie there too, and the device holds those of the blocks at work (Ren et al., arXiv 2101.06840; arXiv 2104.07857).
    """
    constants = GPU if settings.gpu else CPU
    trained = trained_parameters(shape, settings)
    zero, away = int(stage[4]) if stage.startswith("zero") else 0, stage.endswith(OFFLOAD)
    settings = replace(settings, fused=settings.fused and zero < 3)
    weights, gradients = 1 / gpus if zero == 3 else 1.0, 1 / gpus if zero >= 2 else 1.0
    kept = activation_bytes(shape, settings)
    saved = round(kept * constants.slack)
    grads = round(4 * trained * gradients)
    master = 4 if zero else 0  # ZeRO's optimizer trains a flat float32 copy of its own
    return (
        *(replace(one, size=round(one.size * weights), host=away and zero == 3) for one in _weights(shape, settings)),
        *(_sent_gradients(settings, grads) if away else (_gradients(settings, grads, saved),)),
        MemoryItem(
            name="optimizer",
            size=round((settings.state + master) * trained * (1 / gpus if zero else 1.0)),
            note=_shard_note(zero, 1, gpus),
            host=away,
        ),
        MemoryItem(
            name="activations", size=saved, note=f"{settings.tokens:,} tokens, {'checkpointed' if settings.checkpointing else 'all kept'}"
        ),
        MemoryItem(name="working memory", size=working_memory(shape, settings), note="temporaries of one block's backward pass"),
        MemoryItem(name="logits", size=logit_bytes(shape, settings), note="at supervised positions, in chunks of 64 MiB"),
        *_communication(shape, settings, stage, gpus, trained),
        *_fragmentation(shape, settings, constants),
        MemoryItem(name="context", size=constants.context, note="CUDA, cuBLAS" if settings.gpu else "Python and its libraries"),
    )


def device_bytes(items: tuple[MemoryItem, ...]) -> int:
    """Bytes on the device in all."""
    return sum(one.size for one in items if not one.host)


def host_bytes(items: tuple[MemoryItem, ...]) -> int:
    """Bytes in the host's memory for one device, beside what its process takes itself."""
    return sum(one.size for one in items if one.host)


def _shard_note(zero: int, least: int, gpus: int) -> str:
    return f"1/{gpus} each" if zero >= least and gpus > 1 else ""


def _weights(shape: ModelShape, settings: MemorySettings) -> tuple[MemoryItem, ...]:
    return (*_base(shape, settings), *_adapter(shape, settings))


def _base(shape: ModelShape, settings: MemorySettings) -> tuple[MemoryItem, ...]:
    """The model's own weights. Under full tuning they are float32, since a small step would be lost in 16 bits."""
    width = 4 if settings.method == "full" else settings.width
    if settings.method != "qlora":
        return (MemoryItem(name="weights", size=width * shape.parameters, note=f"{8 * width} bits"),)
    scales = shape.linear_parameters / BLOCK
    return (
        MemoryItem(name="quantised weights", size=shape.linear_parameters // 2, note="NF4"),
        MemoryItem(name="their constants", size=round(scales * (1 + 4 / NESTED)), note="doubly quantised scales"),
        MemoryItem(
            name="whole weights", size=width * (shape.embedding_parameters + shape.other_parameters), note="embeddings, head, norms"
        ),
    )


def _adapter(shape: ModelShape, settings: MemorySettings) -> tuple[MemoryItem, ...]:
    if settings.method == "full":
        return ()
    lora = MemoryItem(name="LoRA weights", size=4 * shape.lora_parameters(settings.rank), note="float32")
    rows = MemoryItem(name="DoRA magnitudes", size=4 * dora_magnitudes(shape, settings), note="float32, one of each row of a weight")
    return (lora, rows) if rows.size else (lora,)


def _sent_gradients(settings: MemorySettings, size: int) -> tuple[MemoryItem, ...]:
    """Those of this rank's share, where the optimizer reads them; with several packs a step, they are summed in a second place."""
    twice = settings.accumulation > 1
    return (
        MemoryItem(name="gradients", size=size * (2 if twice else 1), note="float32" + (", and their sums" if twice else ""), host=True),
    )


def _gradients(settings: MemorySettings, size: int, saved: int) -> MemoryItem:
    """With one pack a step, gradients grow as activations are freed; with several, those of earlier packs are there already."""
    if settings.accumulation > 1 or size <= saved:
        size = size if settings.accumulation > 1 else 0
        return MemoryItem(name="gradients", size=size, note="float32" if size else "they take the place of activations")
    return MemoryItem(name="gradients", size=size - saved, note="float32, beyond the place of activations")


def trained_parameters(shape: ModelShape, settings: MemorySettings) -> int:
    """How many parameters are trained."""
    return shape.parameters if settings.method == "full" else shape.lora_parameters(settings.rank) + dora_magnitudes(shape, settings)


def dora_magnitudes(shape: ModelShape, settings: MemorySettings) -> int:
    """What DoRA trains beside LoRA: the size of every row of every linear layer's weight (arXiv 2402.09353)."""
    return shape.layers * sum(outputs for _, outputs in shape.linears) if settings.method == "dora" else 0


def _fragmentation(shape: ModelShape, settings: MemorySettings, constants: AllocatorConstants) -> tuple[MemoryItem, ...]:
    """What the allocator keeps of weights that were whole: once to be quantised, then for each matmul. Larger ones go back to the system.

    Kept activations come to lie between them, so that their places do not join. It does not grow with the pack.
    """
    whole = dequantized_bytes(shape, settings)
    if settings.gpu or not whole:
        return ()
    return (
        MemoryItem(
            name="fragmentation",
            size=round(constants.fragmentation * whole),
            note="of weights made whole to be quantised, and for matmuls",
        ),
    )


def dequantized_bytes(shape: ModelShape, settings: MemorySettings) -> int:
    """Bytes of all quantised weights in 16 or 32 bits, those that glibc gives back aside."""
    if settings.method != "qlora":
        return 0
    small = sum(inputs * outputs for inputs, outputs in shape.linears if settings.width * inputs * outputs < MMAP_THRESHOLD)
    return settings.width * shape.layers * small


def _communication(shape: ModelShape, settings: MemorySettings, stage: str, gpus: int, trained: int) -> tuple[MemoryItem, ...]:
    if stage == "one GPU" or (gpus == 1 and not stage.startswith("zero")):
        return ()
    if stage == "data parallel":
        return (MemoryItem(name="communication", size=4 * trained, note="every gradient once more, in buckets"),)
    size = 2 * 4 * min(trained, shape.hidden**2)  # transformers' choice for a bucket's "auto"; two, since sending overlaps with computing
    three = stage.startswith("zero3")
    if three:
        linear = shape.linear_parameters // shape.layers
        whole = linear * (0.5 if settings.method == "qlora" else 4 if settings.method == "full" else settings.width)
        size += round(2 * whole) + 2 * shape.vocabulary * shape.hidden * settings.width
    return (MemoryItem(name="communication", size=size, note="two blocks gathered, and the head" if three else "two buckets of gradients"),)
