"""What forward and backward passes hold for each pack: kept activations, temporaries, logits. Counted from what each function saves.

It follows this trainer: a flat pack of tokens, logits in chunks at supervised positions, their gradient made in the forward pass, LoRA
computed in one function (`kernels`). All results are bytes.
"""

from __future__ import annotations

from agenttune.training.kernels.recompute import keeps_all
from agenttune.training.memory.model_shape import ModelShape
from agenttune.training.memory.settings import MemorySettings

CHUNK = 64 << 20  # bytes of float32 logits at a time, as in `supervised_head`
WORKING = 4  # tensors of [tokens, intermediate + hidden] at a block's backward pass: of gate, up, act(gate) * up, and the block's input
FUSED_WORKING = 3  # the same where `lora_mlp` makes them: the gradient of act(gate) * up, the activation, and act(gate) * up or gate
RECOMPUTE_WORKING = 5  # the same where gate and up are recomputed for it (`recompute`)


def activation_bytes(shape: ModelShape, settings: MemorySettings) -> int:
    """What forward keeps for backward: everything, or each block's input and everything of one block at a time."""
    block, stream = settings.tokens * block_activation_bytes(shape, settings), settings.tokens * shape.hidden * settings.width
    # The last norm; the cosines and sines of rotary positions; the gradient that the head makes in the forward pass.
    ends = settings.tokens * (_norm_bytes(shape, settings) + 2 * shape.head_size * settings.width)
    ends += settings.supervised * shape.hidden * settings.width
    if settings.checkpointing:
        return shape.layers * stream + block + ends
    # Frozen embeddings need no gradient, so that the first norm keeps no input (unless q, k and v do, to recompute its output), and q, k
    # and v after it no dropout masks.
    not_kept = shape.hidden * (settings.width if settings.fused else 4) + 3 * shape.hidden * _dropout_mask_bytes(settings)
    if settings.method == "full" or recomputes(shape, settings):
        not_kept = 0
    return shape.layers * block + ends - settings.tokens * not_kept


def block_activation_bytes(shape: ModelShape, settings: MemorySettings) -> int:
    """Bytes a token leaves in one block of Llama's kind, counted from what each function there saves for its backward pass.

    Attention saves q, k, v, its output and a log-sum-exp a head. The gated MLP is gate and up where one function makes it (`lora_mlp`;
    nothing of a large pack), else gate, its activation and up; layers' inputs are in `_input_bytes`.
    """
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    attention = settings.width * (2 * queries + 2 * keys) + 4 * shape.heads
    inner_tensors = 0 if recomputes(shape, settings) else 2 if settings.method == "lora" and not settings.peft_layers else 3
    inner = shape.intermediate * settings.width * inner_tensors
    size = 2 * _norm_bytes(shape, settings) + attention + inner + _input_bytes(shape, settings)
    if settings.method == "full":
        return size
    size += 7 * settings.rank * (4 if settings.peft_layers else settings.width)  # A's output, which B reads
    if settings.method == "dora":  # a layer's output and its low-rank part in float32, both multiplied by the magnitudes
        size += (4 + (4 if settings.dropout else settings.width)) * sum(outputs for _, outputs in shape.linears)
    return size


def recomputes(shape: ModelShape, settings: MemorySettings) -> bool:
    """Whether the outputs of gate, up and the norms are recomputed in the backward pass (`kernels.recompute`)."""
    lean = settings.method == "lora" and not settings.peft_layers
    return lean and not settings.checkpointing and not keeps_all(settings.tokens, shape.hidden, settings.width)


def _norm_bytes(shape: ModelShape, settings: MemorySettings) -> int:
    """Bytes a token leaves in one norm: its input and a float32 factor; transformers' own works on a float32 copy.

    Where its weight is trained, its other factor stays too.
    """
    if settings.method == "full":
        return shape.hidden * (4 + settings.width) + 4
    return shape.hidden * (settings.width if settings.fused else 4) + 4


def _input_bytes(shape: ModelShape, settings: MemorySettings) -> int:
    """Bytes a token leaves as inputs of a block's linear layers, beside attention's output, which o reads.

    q, k and v read one tensor, gate and up another; down's is recomputed by `lora_mlp`. PEFT's own layers cast their input from 16
    bits to float32, each for itself, and apply their own dropout to it: then these copies stay, and the dropout masks.
    """
    if settings.peft_layers and (settings.half or settings.dropout):
        return (4 + _dropout_mask_bytes(settings)) * sum(inputs for inputs, _ in shape.linears)
    if recomputes(shape, settings):
        return 0
    down = 0 if settings.method == "lora" and not settings.peft_layers else shape.intermediate
    return (2 * shape.hidden + down) * settings.width


def _dropout_mask_bytes(settings: MemorySettings) -> int:
    """Bytes of a dropout's mask for each number: one in CUDA's kernel; on a CPU a factor in the dtype of what PEFT casts to, float32."""
    return (1 if settings.gpu else 4) if settings.dropout else 0


def working_memory(shape: ModelShape, settings: MemorySettings) -> int:
    """Temporaries at the peak; a quantised layer is dequantised for its matmul, the largest one counts.

    DoRA's come in the forward pass, when nothing of the backward pass is there yet, so that the larger of the two counts.
    """
    lean = settings.method == "lora" and not settings.peft_layers
    tensors = RECOMPUTE_WORKING if recomputes(shape, settings) else FUSED_WORKING if lean else WORKING
    size = tensors * settings.tokens * settings.width * (shape.intermediate + shape.hidden)
    if settings.method == "dora":
        size = max(size, *(dora_temporary_bytes(settings, inputs, outputs) for inputs, outputs in shape.linears))
    largest = max(inputs * outputs for inputs, outputs in shape.linears)
    return size + (settings.width * largest if settings.method == "qlora" else 0)


def dora_temporary_bytes(settings: MemorySettings, inputs: int, outputs: int) -> int:
    """What PEFT makes to find the norms of a layer's rows, in float32: an identity matrix, and A's output for it; B A, B A scaled, and
    the weight with it added (of a 16-bit weight a copy besides). All are there when the norms are taken."""
    copies = 4 if settings.half else 3
    return 4 * (inputs * inputs + inputs * settings.rank + copies * inputs * outputs)


def logit_bytes(shape: ModelShape, settings: MemorySettings) -> int:
    """A chunk of logits in float32 (beside a 16-bit one where these are made); for full tuning the head's gradient twice besides."""
    rows = min(max(1, CHUNK // (4 * shape.vocabulary)), settings.supervised)
    chunk = rows * shape.vocabulary * (4 + (4 if settings.half else 0))
    return chunk + (2 * 4 * shape.vocabulary * shape.hidden if settings.method == "full" else 0)
