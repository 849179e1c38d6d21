"""Loading models and adapters: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune import models
from agenttune.errors import UserError
from agenttune.models.card import fingerprint, write_card
from agenttune.models.hf import load_pretrained
from agenttune.models.library_messages import no_library_messages
from agenttune.values.adapter import Card
from tests.work import cpu_seconds

PROMPT = [5, 6, 7, 8]
CPU = {"device": "cpu", "dtype": "float32"}


def made(folder: Path, hf_tokenizer: Any, seed: int = 0, **changes: Any) -> Path:
    """A folder of a small random Llama."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(seed)
    config = LlamaConfig(**{**shape, "vocab_size": len(hf_tokenizer), "max_position_embeddings": 99, **changes})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    hf_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, made_tokenizer: Callable[[str], Any]) -> Path:
    """The base of this file's adapters."""
    return made(tmp_path_factory.mktemp("base"), made_tokenizer("chatml"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """A LoRA adapter with a card; its weights are random, so that it changes what the base says."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    hf, _ = load_pretrained(str(base), device="cpu", dtype="float32")
    mark = fingerprint(hf)
    torch.manual_seed(1)
    with no_library_messages():
        tuned = get_peft_model(hf, LoraConfig(r=4, target_modules=["q_proj", "up_proj"], init_lora_weights=False))
        tuned.save_pretrained(folder)
    write_card(folder, Card(base=str(base), base_fingerprint=mark, protocol="react", template="auto", method="lora"))
    return folder


def logits(model: Any) -> Any:
    """The logits after a prompt."""
    return model.start([PROMPT], [None]).logits()


def copied(folder: Path, to: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(folder, to))


def test_a_folder(base: Path) -> None:
    model = models.load(str(base), **CPU)
    assert (model.name, model.context, model.card) == (str(base), 99, None)
    assert not model.hf.training
    assert model.tokenizer.chat_template
    assert str(model.hf.dtype) == "torch.float32"
    assert str(models.load(str(base), device="cpu", dtype="bfloat16").hf.dtype) == "torch.bfloat16"


def test_it_says_what_its_cache_takes(base: Path) -> None:
    import torch

    for dtype in ("float32", "bfloat16"):
        model = models.load(str(base), device="cpu", dtype=dtype)
        rows = model.start([PROMPT], [None])
        held = sum(side.numel() * side.element_size() for layer in rows.prefix(0).state.layers for side in (layer.keys, layer.values))
        assert held == len(PROMPT) * model.token_bytes
        assert model.hf.dtype == getattr(torch, dtype)


def by_peft(base: Path, adapter: Path, dtype: str, rounded: bool = False) -> Any:
    """The logits after a prompt by PEFT's own layers, in float32; `rounded`: the base's weights rounded to bfloat16 before."""
    import torch
    from peft import PeftModel

    hf = load_pretrained(str(base), device="cpu", dtype="bfloat16" if rounded else dtype)[0]
    with no_library_messages():
        wanted = PeftModel.from_pretrained(hf.float() if rounded else hf, adapter)
    with torch.inference_mode():
        return wanted(torch.tensor([PROMPT])).logits[0, -1].float()


def test_an_adapter_changes_what_is_said_and_brings_its_card(base: Path, adapter: Path) -> None:
    import torch

    plain = models.load(str(base), **CPU)
    tuned = models.load(str(base), adapter=str(adapter), **CPU)
    assert tuned.card is not None and tuned.card.protocol == "react"
    assert tuned.fingerprint == plain.fingerprint
    own = by_peft(base, adapter, "float32")
    assert (torch.tensor(logits(tuned)[0]) - own).abs().max() < 1e-4 * own.abs().max()
    assert (torch.tensor(logits(plain)[0]) - own).abs().max() > 0.01 * own.abs().max()


def test_an_adapter_in_bfloat16_is_computed_as_it_is_trained(base: Path, adapter: Path) -> None:
    import torch
    from peft import PeftModel

    from agenttune.models.lora import FixedLora
    from agenttune.training.kernels.lora_linear import fuse_lora

    tuned = models.load(str(base), adapter=str(adapter), device="cpu", dtype="bfloat16")
    assert sum(isinstance(layer, FixedLora) for layer in tuned.hf.modules()) == 4  # query and up of two blocks
    found = torch.tensor(logits(tuned)[0])
    with no_library_messages():
        trained = PeftModel.from_pretrained(load_pretrained(str(base), device="cpu", dtype="bfloat16")[0], adapter)
    assert fuse_lora(trained) == 4
    with torch.inference_mode():
        assert torch.equal(trained(torch.tensor([PROMPT])).logits[0, -1].float(), found)
    exact = by_peft(base, adapter, "float32", rounded=True)
    off, peft_off = ((one - exact).abs().mean() for one in (found, by_peft(base, adapter, "bfloat16")))
    assert off < 1.5 * peft_off  # the rounding of bfloat16 and no more


def test_an_adapter_of_another_kind_keeps_its_own_layers(base: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    hf, _ = load_pretrained(str(base), device="cpu", dtype="bfloat16")
    with no_library_messages():
        get_peft_model(hf, LoraConfig(r=4, target_modules=["q_proj"], use_dora=True, init_lora_weights=False)).save_pretrained(tmp_path)
    tuned = models.load(str(base), adapter=str(tmp_path), device="cpu", dtype="bfloat16")
    own = by_peft(base, tmp_path, "bfloat16")
    assert torch.equal(torch.tensor(logits(tuned)[0]), own)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_several_prompts_at_once_copy_no_weights(base: Path, adapter: Path, dtype: str) -> None:
    import torch
    from torch.profiler import ProfilerActivity, profile

    tuned = models.load(str(base), adapter=str(adapter), device="cpu", dtype=dtype)
    size = tuned.hf.get_output_embeddings().weight.numel()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        tuned.start([PROMPT] * 3, [None] * 3).logits()
    assert any(event.name == "aten::mm" for event in seen.events())
    copied = [event for event in seen.events() if event.name == "aten::copy_" and torch.Size(event.input_shapes[0]).numel() >= size]
    assert not copied


def test_several_adapters_share_the_weights_of_one_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = copied(adapter, tmp_path / "other")
    weights = load_file(other / "adapter_model.safetensors")
    embedding = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    save_file({**weights, "base_model.model.model.embed_tokens.weight": embedding * 2}, other / "adapter_model.safetensors")
    bfloat16 = {"device": "cpu", "dtype": "bfloat16"}
    first, second, bare = models.load_many(str(base), [str(adapter), str(other), None], **bfloat16)
    for one, folder in ((first, adapter), (second, other), (bare, None)):
        alone = models.load(str(base), adapter=folder and str(folder), **bfloat16)
        assert logits(one).tolist() == logits(alone).tolist()
        assert (one.card is None) == (folder is None)
    held = [{tensor.data_ptr(): tensor.nbytes for tensor in one.hf.state_dict().values()} for one in (first, second, bare)]
    whole, embeddings = sum(held[2].values()), embedding.numel() * 2
    more = sum((held[0] | held[1] | held[2]).values()) - whole
    assert more == embeddings  # those that one brings; the adapters' own are no part of the state


def test_an_adapter_is_put_beside_a_loaded_base_without_loading_it_again(
    base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    bare = models.load(str(base), **CPU)
    before = logits(bare).tolist()

    def load_again(*given: Any, **more: Any) -> None:
        raise AssertionError("the weights are read a second time")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load_again)
    beside = models.load_beside(bare, str(adapter))
    monkeypatch.undo()
    merged = models.load(str(base), adapter=str(adapter), **CPU)
    assert abs(logits(beside) - logits(merged)).max() < 1e-4 < abs(logits(beside) - before).max()
    assert logits(bare).tolist() == before  # which it has left as it was
    held = [{tensor.data_ptr() for tensor in one.hf.state_dict().values()} for one in (bare, beside)]
    assert held[0] <= held[1]


def test_an_adapters_folder_alone_brings_its_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    wanted = logits(models.load(str(base), adapter=str(adapter), **CPU)).tolist()
    assert logits(models.load(str(adapter), **CPU)).tolist() == wanted
    bare = copied(adapter, tmp_path / "bare")
    (bare / "agenttune.json").unlink()
    without = models.load(str(bare), **CPU)  # the base is named in PEFT's own file
    assert without.card is None
    assert logits(without).tolist() == wanted


def test_the_output_of_full_tuning_is_a_model_with_a_card(base: Path, tmp_path: Path) -> None:
    full = copied(base, tmp_path / "full")
    write_card(full, Card(base="b", base_fingerprint="0", protocol="react_zh", template="auto", method="full"))
    model = models.load(str(full), **CPU)
    assert model.card is not None and (model.card.method, model.card.protocol) == ("full", "react_zh")


def test_an_adapter_of_another_base_is_refused(adapter: Path, tmp_path: Path, made_tokenizer: Callable[[str], Any]) -> None:
    hf = made_tokenizer("chatml")
    other = made(tmp_path / "other", hf, seed=5)
    with pytest.raises(UserError, match=r"was trained on .*base.*and .*other is another model"):
        models.load(str(other), adapter=str(adapter), **CPU)
    bare = copied(adapter, tmp_path / "bare")
    (bare / "agenttune.json").unlink()
    for name, changes in (("wider", {"hidden_size": 96}), ("deeper", {"num_hidden_layers": 3}), ("shallower", {"num_hidden_layers": 1})):
        with pytest.raises(UserError, match=f"does not fit .*{name}: it was trained on another base"):
            models.load(str(made(tmp_path / name, hf, **changes)), adapter=str(bare), **CPU)


def test_pickled_weights_are_never_read(base: Path, adapter: Path, tmp_path: Path) -> None:
    spoiled = copied(base, tmp_path / "model")
    (spoiled / "model.safetensors").rename(spoiled / "pytorch_model.bin")
    with pytest.raises(UserError, match="only pickled weights, which are never read"):
        models.load(str(spoiled), **CPU)
    old = copied(adapter, tmp_path / "adapter")
    (old / "adapter_model.safetensors").rename(old / "adapter_model.bin")
    with pytest.raises(UserError, match=r"no adapter_model\.safetensors; pickled"):
        models.load(str(base), adapter=str(old), **CPU)


def test_code_of_a_checkpoint_is_never_run(base: Path, tmp_path: Path) -> None:
    own = copied(base, tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.C", "AutoModelForCausalLM": "theirs.M"}}
    (own / "config.json").write_text(json.dumps(config))
    (own / "theirs.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(UserError, match=r"train runs only with trust_remote_code=true.* chat and eval never run"):
        models.load(str(own), **CPU)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("asked", ["someone/kernel", "flash_attention_2"])
def test_a_file_fetches_no_kernel(base: Path, tmp_path: Path, key: str, asked: str) -> None:
    """transformers would ask a hub for it, local files only or not."""
    place = copied(base, tmp_path / "model")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, key: asked}))
    with pytest.warns(UserWarning, match=f"asks for the attention '{asked}', which is left out"):
        found = models.load(str(place), device="cpu", dtype="float32")
    assert found.hf.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("smollm2-135", r'there is no model smollm2-135 \(did you mean "smollm2-135m"\?\)'),
        ("./gone", "there is no model ./gone"),
        ("{tmp}", "holds no model: it has no config.json"),
        ("{tmp}/notes.txt", "is a file but no .gguf"),
        ("{tmp}/half", "has no .*safetensors weights"),
        ("{tmp}/broken", r"cannot read .*model\.safetensors"),
        ("{tmp}/lacking", "lacks weights, model.norm.weight for one"),
    ],
)
def test_a_model_that_is_not_there_gets_a_sentence(tmp_path: Path, base: Path, name: str, sentence: str) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "notes.txt").write_text("x")
    half = copied(base, tmp_path / "half")
    (half / "model.safetensors").unlink()
    broken = copied(base, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not safetensors")
    weights = load_file(copied(base, tmp_path / "lacking") / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "lacking" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=sentence) as caught:
        models.load(name.replace("{tmp}", str(tmp_path)), **CPU)
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"the hub did not give .* download it on a machine that reaches the hub and give the folder"):
        models.load("no-such-org/no-such-model", **CPU)


def test_an_adapter_may_bring_embeddings(base: Path, adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    more = copied(adapter, tmp_path / "more")
    weights = load_file(more / "adapter_model.safetensors")
    embedding = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    save_file({**weights, "base_model.model.model.embed_tokens.weight": embedding * 2}, more / "adapter_model.safetensors")
    (more / "agenttune.json").unlink()
    assert logits(models.load(str(base), adapter=str(more), **CPU)).tolist() != logits(models.load(str(base), **CPU)).tolist()
    save_file({**weights, "base_model.model.model.layers.7.strange": embedding * 2}, more / "adapter_model.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        models.load(str(base), adapter=str(more), **CPU)


def test_an_adapter_that_cannot_be_read(base: Path, adapter: Path, tmp_path: Path) -> None:
    broken = copied(adapter, tmp_path / "broken")
    (broken / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match=r"cannot read .*adapter_model\.safetensors"):
        models.load(str(base), adapter=str(broken), **CPU)
    strange = copied(adapter, tmp_path / "strange")
    (strange / "adapter_config.json").write_text('{"peft_type": "MAGIC"}')
    with pytest.raises(UserError, match=r"cannot read .*adapter_config\.json"):
        models.load(str(base), adapter=str(strange), **CPU)


def changed(folder: Path, to: Path, name: str, **changes: Any) -> Path:
    """A copy whose JSON file `name` says something else."""
    file = copied(folder, to) / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return to


SLOW = "(a+)+$|" + r"([a-z0-9_.]+)+\.(q_proj|up_proj)!?"  # `re` tries every way to cut a name into pieces before it gives one up


def test_a_pattern_of_an_adapter_takes_no_time_and_matches_as_it_did(base: Path, adapter: Path, tmp_path: Path) -> None:
    """What it matches is what the list of the same modules names, and so do the patterns of ranks."""
    wanted = logits(models.load(str(base), adapter=str(adapter), **CPU))
    patterns = {"target_modules": SLOW, "exclude_modules": "(x+x+)+y", "rank_pattern": {"([a-z]+)+up_proj": 99, r".*\.(q|up)_proj": 4}}
    slow = changed(adapter, tmp_path / "slow", "adapter_config.json", **patterns, r=1, alpha_pattern={"^.*up_proj$": 8, "q_proj": 8})
    assert cpu_seconds(lambda: models.load(str(base), adapter=str(slow), **CPU)) < 10
    assert (logits(models.load(str(base), adapter=str(slow), **CPU)) == wanted).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target_modules": r"(?=q)q_proj"}, "target_modules of the adapter .* is no pattern that is read here"),
        ({"target_modules": "(" * 4000}, "is no pattern that is read here"),
        ({"modules_to_save": ["(a+)+$"]}, r"modules_to_save of the adapter .* must hold names of modules, not '\(a\+\)\+\$'"),
        ({"layers_to_transform": [0], "layers_pattern": "(l+)+"}, "layers_pattern of .* must hold names"),
        ({"r": 10**9}, "says a rank of 1000000000, and no side of its weights is longer than 64"),
        ({"rank_pattern": {"q_proj": 10**12}}, "says a rank of 1000000000000"),
    ],
)
def test_an_adapters_file_is_bounded_by_its_weights(base: Path, adapter: Path, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    made = changed(adapter, tmp_path / "odd", "adapter_config.json", **changes)
    with pytest.raises(UserError, match=says) as caught:
        models.load(str(base), adapter=str(made), **CPU)
    assert len(str(caught.value)) < 600


def test_a_token_numbered_beyond_all_others_is_refused(base: Path, tmp_path: Path) -> None:
    made = copied(base, tmp_path / "sparse")
    raw = json.loads((made / "tokenizer.json").read_text())
    raw["model"]["vocab"]["a"] = 2**31
    (made / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match=r"gives a token the number 2147483648, and has [0-9]+ tokens; get the model again"):
        models.load_tokenizer(str(made))


@pytest.mark.parametrize("key", ["hidden_size", "intermediate_size", "vocab_size", "head_dim"])
def test_a_config_that_is_wider_than_its_weights_is_refused(base: Path, tmp_path: Path, key: str) -> None:
    made = changed(base, tmp_path / "wide", "config.json", **{key: 10**6})
    with pytest.raises(UserError, match=f"says {key} 1000000, and no side of its weights is longer than 426; get the model again"):
        models.load(str(made), **CPU)


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_local_experts"])
def test_a_config_of_more_layers_than_weights_is_refused_before_they_are_made(base: Path, tmp_path: Path, key: str) -> None:
    made = changed(base, tmp_path / "tall", "config.json", **{key: 10**9})
    with pytest.raises(UserError, match=f"says {key} 1000000000, and its weights hold 21 tensors; get the model again"):
        models.load(str(made), **CPU)


def test_an_adapter_that_is_none(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no adapter folder"):
        models.load(str(base), adapter=str(tmp_path), **CPU)


def test_prompt_tuning_is_refused_by_kind(base: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    hf, _ = load_pretrained(str(base), device="cpu", dtype="float32")
    with no_library_messages():
        get_peft_model(hf, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="of the kind PROMPT_TUNING"):
        models.load(str(base), adapter=str(tmp_path), **CPU)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_on_a_cpu(base: Path, adapter: Path, bits: int) -> None:
    import torch

    plain = torch.tensor(logits(models.load(str(base), **CPU))[0])
    model = models.load(str(base), bits=bits, **CPU)
    kinds = {type(layer).__name__ for layer in model.hf.modules()}
    assert {4: "Linear4bit", 8: "Linear8bitLt"}[bits] in kinds
    found = torch.tensor(logits(model)[0])
    assert 0 < (found - plain).std() < 0.5 * plain.std()
    assert model.fingerprint == models.load(str(base), **CPU).fingerprint
    tuned = models.load(str(base), adapter=str(adapter), bits=bits, **CPU)
    assert (torch.tensor(logits(tuned)[0]) - found).std() > 0


def test_other_bits_are_refused(base: Path) -> None:
    with pytest.raises(UserError, match="4 or 8, not 5"):
        models.load(str(base), bits=5, **CPU)


@pytest.mark.parametrize("question", ["What is the capital of France?"])
def test_the_embedded_model_speaks(smollm2: str, question: str) -> None:
    from agenttune import templates
    from agenttune.agent.decode import decode
    from agenttune.data.render import prompt_ids
    from agenttune.values.sample import Sample, Turn
    from agenttune.values.tokens import SamplingParams

    model = models.load(smollm2, **CPU)
    template = templates.load("auto", model.tokenizer)
    prompt = prompt_ids(Sample(turns=(Turn(system="You are helpful.", input=question),)), template, model.tokenizer)
    (made,) = decode(model, [prompt], SamplingParams(max_new_tokens=20, stop_ids=template.stop_ids))
    assert (made.text, made.stop) == ("The capital of France is Paris.", "stop")
    assert model.context == 8192
