"""What a step of training holds in memory at its peak, part by part, from a model's shape: arithmetic alone, no torch.

What is counted follows this trainer: a flat pack of tokens, logits in chunks at supervised positions, their gradient made on the
way, LoRA computed in one function. Sizes are bytes. Three constants (`Constants`) say what no shape tells; they are fitted on three
runs on a CPU and tested on three others (``make bench BENCH=plan``), and on no published figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agenttune.config import TrainConfig
from agenttune.training.kernels.recompute import small
from agenttune.training.memory.model_shape import Shape

RETURNED = 32 << 20  # bytes: glibc maps what is larger, and gives it back when it is freed (mallopt(3), M_MMAP_THRESHOLD)
CHUNK = 64 << 20  # bytes of float32 logits at a time, as in `head`
BLOCK, NESTED = 64, 256  # NF4: weights of one scale, scales of one scale of scales (arXiv 2305.14314)
STAGES = ("one GPU", "data parallel", "zero1", "zero2", "zero2_offload", "zero3", "zero3_offload")
OFFLOAD = "_offload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What no shape tells. `context`: the process before any weight. `slack`: what the allocator holds, as a factor on the activations
    that are asked of it; `holes`: what it holds of a quantised base's weights that were whole for a while, as a factor on all of them."""

    context: int
    slack: float
    holes: float


CPU = Constants(context=501 << 20, slack=1.58, holes=3.43)  # glibc keeps freed blocks of a few megabytes
GPU = Constants(context=600 << 20, slack=1.0, holes=0.0)  # the CUDA context with cuBLAS, and a caching allocator: not measured here
WORKING = 4  # tensors of [tokens, intermediate + hidden] at a block's backward pass: of gate, up, their product, and the block's input
FUSED_WORKING = 3  # the same where `lora_mlp` makes them: the product's gradient, the activation, and either their product or gate's
AGAIN_WORKING = 5  # the same where gate and up are made again for it (`again`)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A line of the bill: `size` bytes on each device, or with `host` in the host's memory, for each device."""

    name: str
    size: int
    note: str = ""
    host: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What of a config decides its memory. `half`: 16-bit activations; `tokens`: of one pack, of which `supervised` are trained.

    `fused` is False under ZeRO-3, where only a module's own call gathers its weights, so that layers run as their libraries have them.
    """

    method: str
    rank: int
    tokens: int
    supervised: int
    half: bool
    checkpointing: bool
    accumulation: int
    state: float  # the optimizer's bytes for each trained number
    gpu: bool = True
    dropout: bool = False
    fused: bool = True

    @property
    def own(self) -> bool:
        """Whether PEFT's layers run as they are (over a quantised base, with dropout, as DoRA): `lora_linear.plain` says when."""
        return self.method in ("qlora", "dora") or (self.method == "lora" and (self.dropout or not self.fused))

    @property
    def width(self) -> int:
        """Bytes of an activation."""
        return 2 if self.half else 4


def run_of(config: TrainConfig, *, tokens: int | None = None, supervised: int | None = None) -> Run:
    """The run of a config; `tokens` in place of its ``pack_tokens`` (one sample alone may be longer, up to ``length``)."""
    full = max(config.pack_tokens, config.length) if config.pack != "none" else config.length
    tokens = full if tokens is None else tokens
    trainer: Mapping[str, object] = config.trainer
    gpu = config.device != "cpu"
    half = config.dtype in ("bfloat16", "float16") or (config.dtype == "auto" and gpu and config.method != "full")
    return Run(
        method=config.method,
        rank=config.lora.r,
        tokens=tokens,
        supervised=tokens if supervised is None else supervised,
        half=half or bool(trainer.get("bf16") or trainer.get("fp16")),
        checkpointing=config.checkpointing,
        accumulation=int(str(trainer.get("gradient_accumulation_steps", 1))),
        state=optimizer_state(str(trainer.get("optim", "adamw_torch"))),
        gpu=gpu,
        dropout=config.method != "full" and config.lora.dropout > 0,
    )


def optimizer_state(name: str) -> float:
    """Bytes an optimizer keeps for each trained number: two float32 for Adam's kin, one for Lion, a quarter of it in 8 bits."""
    numbers = 0 if name.startswith(("sgd", "adafactor")) else 1 if "lion" in name or "rmsprop" in name or "adagrad" in name else 2
    return numbers * (1.0 + 4 / 256 if "8bit" in name else 4.0)


def parts(shape: Shape, run: Run, *, stage: str = "one GPU", gpus: int = 1) -> tuple[Part, ...]:
    """The bill of one device. `stage` is one of `STAGES`; under ZeRO what is sharded is divided by `gpus`.

    With offload the optimizer works in the host's memory, on gradients that are sent there a bucket at a time; under ZeRO-3 the weights
    lie there too, and the device holds those of the blocks at work (Ren et al., arXiv 2101.06840; arXiv 2104.07857).
    """
    constants = GPU if run.gpu else CPU
    trained = trained_numbers(shape, run)
    zero, away = int(stage[4]) if stage.startswith("zero") else 0, stage.endswith(OFFLOAD)
    run = replace(run, fused=run.fused and zero < 3)
    weights, gradients = 1 / gpus if zero == 3 else 1.0, 1 / gpus if zero >= 2 else 1.0
    kept = activations(shape, run)
    saved = round(kept * constants.slack)
    grads = round(4 * trained * gradients)
    master = 4 if zero else 0  # ZeRO's optimizer trains a flat float32 copy of its own
    return (
        *(replace(one, size=round(one.size * weights), host=away and zero == 3) for one in (*_base(shape, run), *_adapter(shape, run))),
        *(_sent_gradients(run, grads) if away else (_gradients(run, grads, saved),)),
        Part(
            name="optimizer",
            size=round((run.state + master) * trained * (1 / gpus if zero else 1.0)),
            note=_shared(zero, 1, gpus),
            host=away,
        ),
        Part(name="activations", size=saved, note=f"{run.tokens:,} tokens, {'checkpointed' if run.checkpointing else 'all kept'}"),
        Part(name="working memory", size=working(shape, run), note="temporaries of one block's backward pass"),
        Part(name="logits", size=logits(shape, run), note="at supervised positions, in chunks of 64 MiB"),
        *_communication(shape, run, stage, gpus, trained),
        *_holes(shape, run, constants),
        Part(name="context", size=constants.context, note="CUDA, cuBLAS" if run.gpu else "Python and its libraries"),
    )


def total(bill: tuple[Part, ...]) -> int:
    """Bytes on the device in all."""
    return sum(one.size for one in bill if not one.host)


def host_total(bill: tuple[Part, ...]) -> int:
    """Bytes in the host's memory for one device, beside what its process takes itself."""
    return sum(one.size for one in bill if one.host)


def trained_numbers(shape: Shape, run: Run) -> int:
    """How many numbers are trained."""
    return shape.parameters if run.method == "full" else shape.lora_parameters(run.rank) + magnitudes(shape, run)


def magnitudes(shape: Shape, run: Run) -> int:
    """What DoRA trains beside LoRA: the size of every row of every linear layer's weight (arXiv 2402.09353)."""
    return shape.layers * sum(outputs for _, outputs in shape.linears) if run.method == "dora" else 0


def _shared(zero: int, least: int, gpus: int) -> str:
    return f"1/{gpus} each" if zero >= least and gpus > 1 else ""


def _base(shape: Shape, run: Run) -> tuple[Part, ...]:
    """The model's own weights. Under full tuning they are float32, since a small step would be lost in 16 bits."""
    width = 4 if run.method == "full" else run.width
    if run.method != "qlora":
        return (Part(name="weights", size=width * shape.parameters, note=f"{8 * width} bits"),)
    scales = shape.linear_parameters / BLOCK
    return (
        Part(name="quantised weights", size=shape.linear_parameters // 2, note="NF4"),
        Part(name="their constants", size=round(scales * (1 + 4 / NESTED)), note="doubly quantised scales"),
        Part(name="whole weights", size=width * (shape.embedding_parameters + shape.other_parameters), note="embeddings, head, norms"),
    )


def _adapter(shape: Shape, run: Run) -> tuple[Part, ...]:
    if run.method == "full":
        return ()
    lora = Part(name="LoRA weights", size=4 * shape.lora_parameters(run.rank), note="float32")
    rows = Part(name="DoRA magnitudes", size=4 * magnitudes(shape, run), note="float32, one of each row of a weight")
    return (lora, rows) if rows.size else (lora,)


def _sent_gradients(run: Run, size: int) -> tuple[Part, ...]:
    """Those of this rank's share, where the optimizer reads them; with several packs a step, they are summed in a second place."""
    twice = run.accumulation > 1
    return (Part(name="gradients", size=size * (2 if twice else 1), note="float32" + (", and their sums" if twice else ""), host=True),)


def _gradients(run: Run, size: int, saved: int) -> Part:
    """With one pack a step, gradients grow as activations are freed; with several, those of earlier packs are there already."""
    if run.accumulation > 1 or size <= saved:
        size = size if run.accumulation > 1 else 0
        return Part(name="gradients", size=size, note="float32" if size else "they take the place of activations")
    return Part(name="gradients", size=size - saved, note="float32, beyond the place of activations")


def activations(shape: Shape, run: Run) -> int:
    """What forward keeps for backward: everything, or each block's input and everything of one block at a time."""
    block, stream = run.tokens * block_bytes(shape, run), run.tokens * shape.hidden * run.width
    ends = run.tokens * (_norm(shape, run) + 2 * shape.head_size * run.width)  # the last norm; the rotation's cosines and sines
    ends += run.supervised * shape.hidden * run.width  # the gradient that the head makes on the way
    if run.checkpointing:
        return shape.layers * stream + block + ends
    # Frozen embeddings want no gradient, so that the first norm keeps no input (unless q, k and v do, to make its result again), and q, k
    # and v after it no dropout's masks.
    unasked = (
        0 if run.method == "full" or again(shape, run) else shape.hidden * (run.width if run.fused else 4) + 3 * shape.hidden * _mask(run)
    )
    return shape.layers * block + ends - run.tokens * unasked


def block_bytes(shape: Shape, run: Run) -> int:
    """Bytes a token leaves in one block of Llama's kind, counted from what each function there saves for its backward pass.

    Attention saves q, k, v, its result and a row sum a head. The gated MLP is gate and up where one function makes it (`lora_mlp`;
    nothing of a large pack), else gate, its activation and up; layers' inputs are in `_inputs`.
    """
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    attention = run.width * (2 * queries + 2 * keys) + 4 * shape.heads
    inner = shape.intermediate * run.width * (0 if again(shape, run) else 2 if run.method == "lora" and not run.own else 3)
    size = 2 * _norm(shape, run) + attention + inner + _inputs(shape, run)
    if run.method == "full":
        return size
    size += 7 * run.rank * (4 if run.own else run.width)  # what A gives to B
    if run.method == "dora":  # a layer's result and its low-rank part in float32, both multiplied with what is trained of a row's size
        size += (4 + (4 if run.dropout else run.width)) * sum(outputs for _, outputs in shape.linears)
    return size


def again(shape: Shape, run: Run) -> bool:
    """Whether gate's and up's products and the norms' results are made again on the way back."""
    lean = run.method == "lora" and not run.own
    return lean and not run.checkpointing and not small(run.tokens, shape.hidden, run.width)


def _norm(shape: Shape, run: Run) -> int:
    """Bytes a token leaves in one norm: its input and a float32 factor; transformers' own works on a float32 copy.

    Where its weight is trained, what it is multiplied with stays too.
    """
    if run.method == "full":
        return shape.hidden * (4 + run.width) + 4
    return shape.hidden * (run.width if run.fused else 4) + 4


def _inputs(shape: Shape, run: Run) -> int:
    """Bytes a token leaves as inputs of a block's linear layers, beside attention's result, which o reads.

    q, k and v read one tensor, gate and up another; down's is made again by `lora_mlp`. PEFT's own layers cast their input from 16
    bits to float32, each for itself, and lay their own dropout on it: then these copies stay, and the dropout's masks.
    """
    if run.own and (run.half or run.dropout):
        return (4 + _mask(run)) * sum(inputs for inputs, _ in shape.linears)
    if again(shape, run):
        return 0
    down = 0 if run.method == "lora" and not run.own else shape.intermediate
    return (2 * shape.hidden + down) * run.width


def _mask(run: Run) -> int:
    """Bytes of a dropout's mask for each number: one in CUDA's kernel; on a CPU a factor in the dtype of what PEFT casts to, float32."""
    return (1 if run.gpu else 4) if run.dropout else 0


def working(shape: Shape, run: Run) -> int:
    """Temporaries at the peak; a quantised layer is made whole for its matrix product, the largest one counts.

    DoRA's come in the forward pass, when nothing of the backward pass is there yet, so that the larger of the two counts.
    """
    lean = run.method == "lora" and not run.own
    size = (
        (AGAIN_WORKING if again(shape, run) else FUSED_WORKING if lean else WORKING)
        * run.tokens
        * run.width
        * (shape.intermediate + shape.hidden)
    )
    if run.method == "dora":
        size = max(size, *(dora_temporaries(run, inputs, outputs) for inputs, outputs in shape.linears))
    largest = max(inputs * outputs for inputs, outputs in shape.linears)
    return size + (run.width * largest if run.method == "qlora" else 0)


def dora_temporaries(run: Run, inputs: int, outputs: int) -> int:
    """What PEFT makes to find the norms of a layer's rows, in float32: an identity matrix, and what A gives of it; the product of A and B,
    that product scaled, and the weight with it added (of a 16-bit weight a copy besides). All are there when the norms are taken."""
    copies = 4 if run.half else 3
    return 4 * (inputs * inputs + inputs * run.rank + copies * inputs * outputs)


def logits(shape: Shape, run: Run) -> int:
    """A chunk of logits in float32 (beside a 16-bit one where these are made); for full tuning the head's gradient twice besides."""
    rows = min(max(1, CHUNK // (4 * shape.vocabulary)), run.supervised)
    chunk = rows * shape.vocabulary * (4 + (4 if run.half else 0))
    return chunk + (2 * 4 * shape.vocabulary * shape.hidden if run.method == "full" else 0)


def _holes(shape: Shape, run: Run, constants: Constants) -> tuple[Part, ...]:
    """What the allocator keeps of weights that were whole: once to be quantised, then for each product. Larger ones go back to the system.

    Kept activations come to lie between them, so that their places do not join. It does not grow with the pack.
    """
    whole = whole_for_a_while(shape, run)
    if run.gpu or not whole:
        return ()
    return (Part(name="holes", size=round(constants.holes * whole), note="of weights made whole to be quantised, and for products"),)


def whole_for_a_while(shape: Shape, run: Run) -> int:
    """Bytes of all quantised weights in 16 or 32 bits, those that glibc gives back aside."""
    if run.method != "qlora":
        return 0
    small = sum(inputs * outputs for inputs, outputs in shape.linears if run.width * inputs * outputs < RETURNED)
    return run.width * shape.layers * small


def _communication(shape: Shape, run: Run, stage: str, gpus: int, trained: int) -> tuple[Part, ...]:
    if stage == "one GPU" or (gpus == 1 and not stage.startswith("zero")):
        return ()
    if stage == "data parallel":
        return (Part(name="communication", size=4 * trained, note="every gradient once more, in buckets"),)
    size = 2 * 4 * min(trained, shape.hidden**2)  # transformers' choice for a bucket's "auto"; two, since sending overlaps with computing
    three = stage.startswith("zero3")
    if three:
        linear = shape.linear_parameters // shape.layers
        whole = linear * (0.5 if run.method == "qlora" else 4 if run.method == "full" else run.width)
        size += round(2 * whole) + 2 * shape.vocabulary * shape.hidden * run.width
    return (Part(name="communication", size=size, note="two blocks gathered, and the head" if three else "two buckets of gradients"),)
