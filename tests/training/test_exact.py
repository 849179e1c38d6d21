"""A shared Pack trains exactly as one sample at a time would: loss and gradients, for five architectures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from agenttune.config import LoraConfig, config_from
from agenttune.data.pack import build
from agenttune.training.kernels import attention_fused, compiled, recompute, rms_norm
from agenttune.training.kernels.attention import use_tree_attention
from agenttune.training.kernels.lora_linear import fuse_lora
from agenttune.training.kernels.rms_norm import fuse_norms
from agenttune.training.kernels.supervised_head import use_supervised_head
from agenttune.training.peft_model import base_model_of, make_trainable
from agenttune.training.trainer import collate
from agenttune.values.tokens import Rendered
from tests.training.kernels.test_compiled import vectors

FAMILIES = ["Llama", "Qwen2", "Qwen3", "Gemma", "Mistral"]
# Three Packs of one step: samples that share, samples that do not, and one alone.
STEP = ((0, 1, 2), (3, 4), (5,))


def count_compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The widths of the heads that the compiled attention is asked for from now on."""
    asked: list[int] = []
    whole = attention_fused.fused_tree_attention

    def counted(query: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append(query.shape[-1])
        return whole(query, *rest)

    monkeypatch.setattr(attention_fused, "fused_tree_attention", counted)
    return asked


def one_at_a_time(model: Any, renderings: Sequence[Rendered]) -> float:
    """The reference, by transformers' own forward and PyTorch's own loss: backward of the weighted mean; returns it."""
    normaliser = sum(sum(one.weights[1:]) for one in renderings)
    total = 0.0
    for one in renderings:
        logits = model(input_ids=torch.tensor([one.token_ids])).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(one.token_ids[1:]), reduction="none")
        loss = (losses * torch.tensor(one.weights[1:], dtype=losses.dtype)).sum() / normaliser
        loss.backward()
        total += float(loss.detach())
    return total


def packed(model: Any, renderings: Sequence[Rendered], step: Sequence[Sequence[int]]) -> tuple[float, int]:
    """Ours: backward of each Pack with the step's normaliser; returns the loss and the tokens computed."""
    packs = [build([renderings[index] for index in one]) for one in step]
    normaliser = sum(sum(pack.weights) for pack in packs)
    total, tokens = 0.0, 0
    for pack in packs:
        batch = collate([pack])
        del batch["pack"]
        loss = model(**batch, normaliser=normaliser)["loss"]
        loss.backward()
        total += float(loss.detach())
        tokens += batch["input_ids"].shape[1]
    return total, tokens


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    return found


def assert_equal_gradients(ours: dict[str, torch.Tensor], reference: dict[str, torch.Tensor], limit: float = 1e-5) -> None:
    assert ours.keys() == reference.keys()
    whole = torch.cat([one.flatten() for one in reference.values()])
    difference = torch.cat([(ours[name] - one).flatten() for name, one in reference.items()])
    assert float(whole.norm()) > 1e-3
    assert float(difference.norm() / whole.norm()) < limit
    for name, one in reference.items():
        assert float((ours[name] - one).norm()) <= limit * 10 * float(one.norm()) + 1e-7 * float(whole.norm()), name


def with_lora(model: Any, fuse: bool, keep: bool = False) -> Any:
    """LoRA with B not zero, so that every part of the gradient is."""
    config = config_from({"model": "-", "data": "-", "output": "-", "lora": {"r": 4, "alpha": 8}}, "test")
    assert config.lora == LoraConfig(r=4, alpha=8)
    tuned = make_trainable(model, config)
    torch.manual_seed(9)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    if fuse:
        assert fuse_lora(tuned, keep) == 7 * 2
        assert fuse_norms(tuned, keep) in (2 * 2 + 1, 4 * 2 + 1)  # Qwen3 has two more in each layer
    return tuned


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("method", ["full", "lora", "lora-again", "peft-lora", pytest.param("lora-compiled", marks=vectors)])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_equal_one_at_a_time(
    family: str,
    method: str,
    checkpointing: bool,
    tiny_model: Callable[..., Any],
    renderings: Callable[..., list[Rendered]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recompute, "RECOMPUTE_FROM", 0 if method == "lora-again" else recompute.RECOMPUTE_FROM)
    changes: dict[str, Any] = (
        {"sliding_window": None} if family == "Mistral" else {"tie_word_embeddings": True} if family == "Llama" else {}
    )
    if method == "lora-compiled":
        changes["head_dim"] = 32  # the least that the compiled attention takes
    model = tiny_model(family, **changes)
    used = count_compiled(monkeypatch)
    tuned = model if method == "full" else with_lora(model, fuse=method.startswith("lora"))
    if checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    rows = renderings()
    expected = one_at_a_time(tuned, rows)
    reference = gradients(tuned)
    use_tree_attention(model)
    use_supervised_head(base_model_of(tuned))
    loss, tokens = packed(tuned, rows, STEP)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert_equal_gradients(gradients(tuned), reference)
    assert bool(used) == (method == "lora-compiled")
    # A Pack of three: prompt 9 and history 6 once; every sample without its last token.
    lengths = [len(one.token_ids) for one in rows]
    assert tokens == (sum(lengths[:3]) - 3 - 9 - 9 - 6) + (lengths[3] - 1 + lengths[4] - 1 - 9) + (lengths[5] - 1)


def test_nothing_leaks_from_one_sample_into_another(tiny_model: Callable[..., Any], renderings: Callable[..., list[Rendered]]) -> None:
    model = tiny_model("Qwen3").eval()
    use_tree_attention(model)
    first, second = renderings(groups=1, each=2)
    changed = Rendered(token_ids=(*second.token_ids[:-5], 1, 2, 3, 4, 5), weights=second.weights, kinds=(), prompt_ends=(9,), id="z")

    def hidden(*rows: Rendered) -> dict[tuple[int, ...], torch.Tensor]:
        pack = build(rows)
        batch = collate([pack])
        with torch.no_grad():
            out = model.model(
                input_ids=batch["input_ids"], position_ids=batch["position_ids"], tree=batch["tree"], use_cache=False
            ).last_hidden_state[0]
        ends = {}
        for segment in pack.segments:
            path, parent = list(range(segment.start, segment.end)), segment.parent
            while parent >= 0:
                path = [*range(pack.segments[parent].start, pack.segments[parent].end), *path]
                parent = pack.segments[parent].parent
            ends[tuple(pack.token_ids[place] for place in path)] = out[path]
        return ends

    before, after = hidden(first, second), hidden(first, changed)
    own = first.token_ids[:-1]
    assert torch.equal(before[own], after[own])
    alone = hidden(first)[own]
    assert torch.allclose(before[own], alone, rtol=1e-5, atol=1e-6)


def kept_for_backward(model: Any, renderings: Sequence[Rendered]) -> int:
    """Bytes that a forward pass of one Pack keeps, each memory counted once; weights not."""
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = collate([build(renderings)])
    del batch["pack"]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = model(**batch, normaliser=1.0)["loss"]
        kept = sum(seen.values())
    loss.backward()
    return kept


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fused_layers_keep_less(family: str, tiny_model: Callable[..., Any], renderings: Callable[..., list[Rendered]]) -> None:
    kept = []
    for fuse in (False, True):
        model = tiny_model(family, intermediate_size=256, **({"sliding_window": None} if family == "Mistral" else {}))
        tuned = with_lora(model, fuse=fuse)
        use_tree_attention(model)
        use_supervised_head(base_model_of(tuned))
        kept.append(kept_for_backward(tuned, renderings()))
    # Of four tensors of the inner width two are kept: 512 of 1024 numbers a token and layer, beside some 300 that both keep.
    assert kept[1] < 0.75 * kept[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_made_again_is_not_kept_and_changes_no_bit(
    family: str,
    dtype: torch.dtype,
    tiny_model: Callable[..., Any],
    renderings: Callable[..., list[Rendered]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, found = [], []
    for size in (recompute.RECOMPUTE_FROM, 0):
        monkeypatch.setattr(recompute, "RECOMPUTE_FROM", size)
        model = tiny_model(family, intermediate_size=256, **({"sliding_window": None} if family == "Mistral" else {})).to(dtype)
        tuned = with_lora(model, fuse=True)
        use_tree_attention(model)
        use_supervised_head(base_model_of(tuned))
        kept.append(kept_for_backward(tuned, renderings()))
        found.append(gradients(tuned))
    # The two of the inner width and the two results of norms go: 512 + 64 of some 900 numbers a token and layer.
    assert kept[1] < 0.5 * kept[0]
    assert found[0].keys() == found[1].keys() and len(found[0]) == 2 * 7 * 2
    assert all(torch.equal(one, found[1][name]) for name, one in found[0].items())


def test_under_checkpointing_nothing_is_made_again_twice(
    tiny_model: Callable[..., Any], renderings: Callable[..., list[Rendered]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recompute, "RECOMPUTE_FROM", 0)
    kept = []
    for keep in (True, False):
        model = tiny_model("Llama", intermediate_size=256)
        tuned = with_lora(model, fuse=True, keep=keep)
        use_tree_attention(model)
        use_supervised_head(base_model_of(tuned))
        kept.append(kept_for_backward(tuned, renderings()))
    assert kept[1] < 0.5 * kept[0]


@pytest.mark.parametrize("family", ["Llama", "Gemma"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("compiler", [True, False])
def test_a_fused_norm_is_the_models_own(
    family: str, dtype: torch.dtype, compiler: bool, tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiler:
        monkeypatch.setattr(compiled, "why_not", lambda *_: "there is no C compiler (cc)")
    monkeypatch.setattr(rms_norm, "NUMBERS", 32 * 3)  # three rows at a time
    one = tiny_model(family).to(dtype).requires_grad_(False).model.norm
    torch.manual_seed(0)
    one.weight.uniform_(0.5, 1.5)
    given, upstream = torch.randn(2, 5, 32, dtype=dtype, requires_grad=True), torch.randn(2, 5, 32, dtype=dtype)
    expected = one(given)
    reference = torch.autograd.grad(expected, given, upstream)[0]
    assert fuse_norms(one) == 1
    ours = one(given)
    if dtype == torch.bfloat16:
        assert torch.equal(ours, expected)
    assert torch.allclose(ours, expected, rtol=1e-6)
    assert torch.equal(one(given[:, ::2]), ours[:, ::2])  # rows that do not lie close together
    gradient = torch.autograd.grad(ours, given, upstream)[0]
    assert float((gradient - reference).norm() / reference.norm()) < (1e-2 if dtype == torch.bfloat16 else 1e-6)
    one.weight.requires_grad_(True)
    one(given).sum().backward()
    assert one.weight.grad is not None


def test_layers_that_share_an_input_are_each_right_when_called_alone(tiny_model: Callable[..., Any]) -> None:
    tuned = with_lora(tiny_model("Llama"), fuse=True)
    attention = base_model_of(tuned).model.layers[0].self_attn
    first, second = torch.randn(1, 3, 32), torch.randn(1, 3, 32)
    attention.q_proj(first)
    for name in ("k_proj", "v_proj", "k_proj"):
        layer = getattr(attention, name)
        for given in (second, first):
            assert torch.allclose(layer(given), layer._peft_forward(given), atol=1e-5)
