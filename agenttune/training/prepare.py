"""From a config to what the loop needs: the corpus, the model with its trainable weights, how samples are packed, and the plan."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agenttune import templates
from agenttune.config import TrainConfig
from agenttune.data.fit import CHANGES
from agenttune.data.native import resolve
from agenttune.data.packing import Packing, PackLimits, make_packing
from agenttune.errors import UserError
from agenttune.models.card import fingerprint
from agenttune.models.device import pick_dtype
from agenttune.models.hf import load_pretrained, wrap_tokenizer
from agenttune.templates import REFUSALS, Template
from agenttune.training.argument_orders import argument_orders
from agenttune.training.corpus import REASONING, Corpus, Samples, make_corpus, read_samples, resolve_protocol
from agenttune.training.distributed.zero3_weights import gathered, gathering_forward, is_zero3
from agenttune.training.events import Notice, TrainingEvent
from agenttune.training.kernels import attention_matmul
from agenttune.training.kernels.attention import describe, use_tree_attention
from agenttune.training.kernels.lora_linear import fuse_lora
from agenttune.training.kernels.rms_norm import fuse_norms
from agenttune.training.kernels.supervised_head import use_supervised_head
from agenttune.training.packability import probe, why_not_pack, why_not_share
from agenttune.training.peft_model import base_model_of, lora_config_of, make_trainable
from agenttune.values.counted import counted

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A run ready to begin. `pack` is what is done, which may be less than what was asked for (then `reason` says why)."""

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    template: Template
    protocol: str
    argument_orders: Mapping[str, Sequence[Sequence[str]]]
    corpus: Corpus
    packing: Packing
    pack: str
    attention: str
    matmul: bool | None
    device: str
    dtype: str
    base_fingerprint: str
    data_hashes: tuple[tuple[str, float], ...]

    def rejected(self) -> dict[str, int]:
        """Samples that are left out, by reason."""
        return {code: count for code, count in self.corpus.counts.items() if code not in (*CHANGES, REASONING)}

    def changed(self) -> dict[str, int]:
        """What was done to make samples fit: observations elided, oldest rounds dropped, calls that use what was dropped."""
        return {code: count for code, count in self.corpus.counts.items() if code in (*CHANGES, REASONING)}

    def identity(self) -> dict[str, Any]:
        """What a continuation must have in common with this run."""
        packs = hashlib.sha256(repr(self.packing.packs).encode()).hexdigest()
        data = [list(one) for one in self.data_hashes]
        return {
            "data": data,
            "model": self.base_fingerprint,
            "world": self.packing.world,
            "tokens": self.corpus.fingerprint(),
            "packs": packs,
            "dtype": self.dtype,
            **({} if self.matmul is None else {"matmul": self.matmul}),
        }


def resolve_dtype(config: TrainConfig, device: str, begun: str | None) -> str:
    """The base's dtype by name. Under ``auto``, a run that goes on keeps what it `begun` with, because the choice is a measurement."""
    if config.dtype == "auto" and begun is not None:
        return begun
    if config.dtype == "auto" and config.method == "full":
        return "float32"  # a small step would be lost in the rounding of a 16-bit weight
    if config.dtype == "auto" and device == "cpu" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "float32"  # each process would measure for itself, and they might not agree
    return str(pick_dtype(config.dtype, device)).removeprefix("torch.")


def attention_uses_matmul(config: TrainConfig, device: str, dtype: str, world: int, begun: bool | None) -> bool | None:
    """Whether attention's backward pass in bfloat16 runs as matmuls on this CPU; None where nothing is in bfloat16, or there is no choice.

    A run that goes on keeps what it `begun` with, because the choice is a measurement; ranks agree, and one that says no is heard.
    """
    if device != "cpu" or not (dtype == "bfloat16" or config.trainer.get("bf16")):
        return None
    if begun is not None:
        return begun
    pays = attention_matmul.pays(torch.bfloat16)
    if world > 1:
        flag = torch.tensor(int(pays))
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MIN)
        pays = bool(flag)
    return pays


def prepare(
    config: TrainConfig, device: str, dtype: str, world: int, say: Callable[[TrainingEvent], None], *, matmul: bool | None = None
) -> Prepared:
    """Reads, loads, renders, plans. Raises `UserError` for whatever a person must change, the cheapest checks first.

    `matmul` is what the run began with, see `attention_uses_matmul`.
    """
    _check_method(config, say)
    read = read_samples(config.data)
    protocol = resolve_protocol(config.protocol, read.samples)
    if read.first_reject:
        lines = counted(sum(read.rejected.values()), "line")
        say(Notice(text=f"{lines} of the data cannot be read and left out; the first: {read.first_reject}"))
    seed_everything(config.seed)
    model, hf_tokenizer = load_pretrained(
        config.model,
        device=device,
        dtype=dtype,
        bits=4 if config.method == "qlora" else None,
        sharded=is_zero3(),
        trust_remote_code=config.trust_remote_code,
    )
    with gathered([model.get_input_embeddings().weight]):
        base_fingerprint = fingerprint(model)
    corpus, template = _corpus(read, config, model, hf_tokenizer, say)
    matmul = attention_uses_matmul(config, device, dtype, world, matmul)
    pack, attention = _packing(model, config, corpus, device, matmul, say)
    draws = [corpus.path(index) for index in corpus.draws]
    limits = PackLimits(tokens=config.pack_tokens, samples=1 if pack == "none" else config.pack_samples)
    planned = make_packing(draws, limits, seed=config.seed, world=world, share=pack == "share")
    packs = tuple(tuple(corpus.draws[index] for index in one) for one in planned.packs)
    tuned = prepare_model(model, config, base_fingerprint)
    return Prepared(
        model=tuned,
        tokenizer=hf_tokenizer,
        template=template,
        protocol=protocol,
        argument_orders=argument_orders(read.samples),
        corpus=corpus,
        packing=Packing(packs=packs, tokens=planned.tokens, seed=config.seed, world=world),
        pack=pack,
        attention=attention,
        matmul=None if pack == "none" else matmul,
        device=device,
        dtype=dtype,
        base_fingerprint=base_fingerprint,
        data_hashes=tuple((one, file.weight) for one, file in zip(read.hashes, read.files, strict=True)),
    )


def prepare_model(model: PreTrainedModel, config: TrainConfig, base_fingerprint: str | None = None) -> PreTrainedModel | PeftModel:
    """A loaded model as a run computes it: trained weights marked, frozen norms and LoRA layers fused, the loss where it is supervised.

    `base_fingerprint` and errors: see `make_trainable`. ZeRO-3 gathers weights at a module's own call, so nothing is fused under it.
    """
    tuned = make_trainable(model, config, base_fingerprint)
    if not is_zero3():
        fuse_norms(tuned, keep=config.checkpointing)
        if config.method == "lora":
            fuse_lora(tuned, keep=config.checkpointing)
    use_supervised_head(base_model_of(tuned))
    return tuned


def _check_method(config: TrainConfig, say: Callable[[TrainingEvent], None]) -> None:
    """Refuses what cannot go together, before anything is read or loaded."""
    if config.method == "dora" and is_zero3():
        raise UserError("method=dora reads the base's weights outside their own layers, and ZeRO-3 has sharded them; use zero2, or lora")
    if config.adapter is not None and config.method != "full":
        lora = lora_config_of(config)
        kept = f"r {lora.r}, alpha {lora.alpha}; of the config's lora only lr_ratio is used"
        say(Notice(text=f"goes on from the adapter {config.adapter}: {kept}"))


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and torch, so that fresh LoRA weights and dropout are the same in every run of a config."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _corpus(
    read: Samples, config: TrainConfig, model: PreTrainedModel, hf_tokenizer: PreTrainedTokenizerBase, say: Callable[[TrainingEvent], None]
) -> tuple[Corpus, Template]:
    context = getattr(model.config, "max_position_embeddings", None)
    if context and config.length > context:
        raise UserError(f"length is {config.length} tokens and {config.model} has {context} positions; say length={context} or less")
    tokenizer = wrap_tokenizer(hf_tokenizer)
    template = templates.load(config.template, tokenizer, config.template_options, pinned=True)
    resolve(read.samples[0].protocol, template)
    corpus = make_corpus(read, template, tokenizer, config)
    for code, one, several in (
        ("too_long", "is longer than {length} tokens and is left out", "are longer than {length} tokens and are left out"),
        ("unanswered", "has no output and trains nothing", "have no output and train nothing"),
        ("untrained", "has only outputs of weight 0 and trains nothing", "have only outputs of weight 0 and train nothing"),
    ):
        if corpus.counts.get(code):
            say(Notice(text=f"{counted(corpus.counts[code], f'sample {one}', f'samples {several}').format(length=config.length)}"))
    unlike = sum(corpus.counts.get(code, 0) for code in REFUSALS)
    if unlike:
        reasons = ", ".join(f"{corpus.counts[code]} {code}" for code in REFUSALS if corpus.counts.get(code))
        say(Notice(text=f"{unlike} turns are left out, which the template does not carry as they are: {reasons}"))
    if corpus.counts.get(REASONING):
        said = f"the template leaves the reasoning out of {corpus.counts[REASONING]} earlier outputs"
        say(Notice(text=f"{said}, in training as when the model is asked"))
    elided, dropped, needing = (corpus.counts.get(code, 0) for code in CHANGES)
    if elided or dropped:
        done = (
            f"{counted(elided, 'observation is', 'observations are')} elided in the middle and {counted(dropped, 'oldest round')} dropped"
        )
        say(Notice(text=f"to fit {config.length} tokens, {done}"))
    if needing:
        uses = counted(needing, "call uses", "calls use")
        say(Notice(text=f"{uses} what stood only in a dropped round: a longer length would show it to the model"))
    return corpus, template


def _packing(
    model: PreTrainedModel, config: TrainConfig, corpus: Corpus, device: str, matmul: bool | None, say: Callable[[TrainingEvent], None]
) -> tuple[str, str]:
    """(how samples are packed, one line on the attention). Less than was asked for is said with the reason."""
    pack: str = config.pack
    longest = max(corpus.length(index) for index in corpus.draws)
    if pack == "share":
        reason = why_not_share(model, longest, 0.0 if config.method == "full" else lora_config_of(config).dropout)
        if reason:
            pack = "pack"
            say(Notice(text=f"prefixes are not shared: {reason}"))
    if pack != "none":
        with gathering_forward(model):
            reason = why_not_pack(model, longest) or probe(model, matmul)
        if reason:
            pack = "none"
            say(Notice(text=f"samples are not packed, one is computed at a time: {reason}"))
    if pack == "none":
        model.set_attn_implementation("sdpa" if getattr(model, "_supports_sdpa", False) else "eager")
        return pack, f"transformers' own {model.config._attn_implementation}"
    use_tree_attention(model, matmul)
    return pack, describe(device, torch.bfloat16 if matmul else model.dtype, matmul, _head_width(model.config))


def _head_width(config: PreTrainedConfig) -> int:
    text = config.get_text_config()
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
