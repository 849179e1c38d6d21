"""InternLM checkpoints load as Llama, without code of theirs: against a forward pass computed here from their published layout."""

from __future__ import annotations

import importlib.util
import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from agenttune import models, templates
from agenttune.errors import UserError
from agenttune.models import weight_files
from agenttune.models.internlm import llama_settings, llama_weights

_spec = importlib.util.spec_from_file_location("internlm_checkpoints", Path(__file__).with_name("internlm_checkpoints.py"))
assert _spec and _spec.loader
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

CPU: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "InternLM-7B": ("internlm", {"rotary": {"base": 10000, "type": "dynamic"}}),
    "InternLM-20B": ("internlm", {"bias": False}),
    "InternLM2": ("internlm2", {}),
    "InternLM2 with biases": ("internlm2", {"bias": True}),
    "InternLM2.5": ("internlm2", {"rope_theta": 50000000, "rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "past the trained length": ("internlm2", {"max_position_embeddings": 20, "rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "InternLM past it": ("internlm", {"max_position_embeddings": 20, "rotary": {"base": 10000, "type": "dynamic"}}),
    "linear": ("internlm2", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
    "no groups": ("internlm2", {"num_key_value_heads": 4}),
}
IDS = torch.randint(3, 380, (33,), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickled"])
def test_a_published_layout_computes_what_it_should(layout: str, pickled: bool, tmp_path: Path) -> None:
    kind, changes = LAYOUTS[layout]
    weights = made.write(tmp_path / "model", kind, pickled=pickled, **changes)
    wanted = made.forward(weights, made.config(kind, 380, **changes), IDS)
    hf = models.load(str(tmp_path / "model"), **CPU).hf
    with torch.inference_mode():
        found = hf(torch.tensor([IDS])).logits[0].double()
    assert type(hf).__name__ == "LlamaForCausalLM"
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5


def test_it_is_converted_once_and_again_when_it_changes(tmp_path: Path, home: Path) -> None:
    made.write(tmp_path / "model", "internlm2")
    marks = {models.load(str(tmp_path / "model"), **CPU).fingerprint for _ in range(2)}
    assert (len(marks), len(list(home.iterdir()))) == (1, 1)
    made.write(tmp_path / "model", "internlm2", seed=1)
    assert models.load(str(tmp_path / "model"), **CPU).fingerprint not in marks
    assert len(list(home.iterdir())) == 2


def test_ranks_that_start_together_convert_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from agenttune.models import internlm

    made.write(tmp_path / "model", "internlm2")
    count: list[int] = []
    write = internlm.write_tensors

    def counted(*given: Any) -> None:
        count.append(1)
        write(*given)

    monkeypatch.setattr(internlm, "write_tensors", counted)
    folders: list[Path] = []
    ranks = [threading.Thread(target=lambda: folders.append(internlm.folder_of(tmp_path / "model"))) for _ in range(4)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert (len(count), len(set(folders)), len(folders)) == (1, 1, 4)


def test_the_tokenizer_alone_copies_no_weights(tmp_path: Path, home: Path) -> None:
    made.write(tmp_path / "model", "internlm2")
    tokenizer = models.load_tokenizer(str(tmp_path / "model"))
    assert tokenizer.special_id("<|im_start|>") == 379
    assert not list(home.rglob("*.safetensors"))


class Payload:
    """A pickle that makes a file when it is read carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path, home: Path) -> None:
    made.write(tmp_path / "model", "internlm", pickled=True)
    file = tmp_path / "model" / "pytorch_model-00002-of-00002.bin"
    state = torch.load(file, weights_only=True)
    torch.save({**state, "extra": Payload(tmp_path / "ran")}, file)
    with pytest.raises(UserError, match=r"pytorch_model-00002-of-00002\.bin is not read: it holds more than weights") as caught:
        models.load(str(tmp_path / "model"), **CPU)
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(caught.value)
    assert not list(home.iterdir())  # nothing half-made is left
    torch.load(file, weights_only=False)
    assert (tmp_path / "ran").exists()  # the trap itself works


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"architectures": ["InternLM2ForRewardModel"]}, "InternLM2ForRewardModel, which is no causal language model"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, 'scales positions by "yarn"'),
        ({"num_attention_heads": 8}, "has 128 rows, which are not 2 groups of 6 heads"),
        ({"num_attention_heads": 6}, "describes no Llama: .* not a multiple of the number of attention heads"),
        ({"hidden_size": None}, 'lacks "hidden_size"'),
        ("pieces", "is not a sentencepiece model"),
        ("no pieces", "has no tokenizer.model"),
        ("no weights", "has no weights"),
        ("damaged", "cannot read the weights"),
        ("damaged bin", "or is damaged"),
        ("array", "named tensors only"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_says_why(spoil: Any, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    made.write(folder, "internlm2", pickled=spoil in ("damaged bin", "array"))
    if isinstance(spoil, dict):
        raw = {**json.loads((folder / "config.json").read_text()), **spoil}
        (folder / "config.json").write_text(json.dumps({key: one for key, one in raw.items() if one is not None}))
    elif spoil == "pieces":
        (folder / "tokenizer.model").write_bytes(b"\x0a\xff\x7f")
    elif spoil == "no pieces":
        (folder / "tokenizer.model").unlink()
    elif spoil == "no weights":
        for file in folder.glob("*.safetensors"):
            file.unlink()
    elif spoil == "array":
        torch.save([torch.ones(2)], folder / "pytorch_model-00001-of-00002.bin")
    else:
        next(iter(weight_files.weight_files(folder))).write_bytes(b"no weights at all")
    with pytest.raises(UserError, match=said) as caught:
        models.load(str(folder), **CPU)
    assert "\n" not in str(caught.value)


def test_a_cache_without_room_says_so_before_it_writes(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from collections import namedtuple

    made.write(tmp_path / "model", "internlm2")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(UserError, match=r"0\.0 GB free and the converted model needs .* AGENTTUNE_CACHE"):
        models.load(str(tmp_path / "model"), **CPU)
    assert not list(home.iterdir())


def test_weights_pass_through_a_shard_at_a_time(tmp_path: Path) -> None:
    alive: set[int] = set()
    most = 0

    def tensors() -> Iterator[tuple[str, Any]]:
        nonlocal most
        for number in range(40):
            one = torch.full((1000,), float(number))
            alive.add(number)
            weakref.finalize(one, alive.discard, number)
            most = max(most, len(alive))
            yield f"w{number}", one
            del one

    weight_files.write_tensors(tmp_path, tensors(), shard=16000)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 10
    assert most <= 6  # four in a shard, one that did not fit any more, one on its way
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert (index["weight_map"]["w7"], index["metadata"]["total_size"]) == ("model-00002.safetensors", 160000)
    read = {name: float(one[0]) for file in files for name, one in weight_files.read_tensors(file)}
    assert read == {f"w{n}": float(n) for n in range(40)}


def test_fused_rows_go_where_the_layout_says() -> None:
    """Four heads in two groups, head size one: rows q q k v, q q k v."""
    raw = {"num_attention_heads": 4, "num_key_value_heads": 2}
    parts = dict(llama_weights("model.layers.3.attention.wqkv.weight", torch.arange(8.0)[:, None], raw))
    assert {name.removeprefix("model.layers.3.self_attn."): one.flatten().tolist() for name, one in parts.items()} == {
        "q_proj.weight": [0, 1, 4, 5],
        "k_proj.weight": [2, 6],
        "v_proj.weight": [3, 7],
    }


def test_the_published_shape_of_7b_is_kept() -> None:
    raw = made.config("internlm2", 92544, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8)
    settings = llama_settings({**raw, "torch_dtype": "bfloat16", "rope_theta": 1000000}, "config.json")
    assert (settings["num_key_value_heads"], settings["attention_bias"], settings["dtype"]) == (8, False, "bfloat16")
    assert settings["rope_parameters"] == {"rope_type": "default", "rope_theta": 1000000.0}


def test_quantised_to_four_bits(tmp_path: Path) -> None:
    made.write(tmp_path / "model", "internlm2", hidden_act="silu")
    plain, small = (models.load(str(tmp_path / "model"), bits=bits, **CPU) for bits in (None, 4))
    kinds = [type(one).__name__ for one in small.hf.modules()]
    assert kinds.count("Linear4bit") == 7 * 2
    logits = [torch.tensor(one.start([IDS], [None]).logits()[0]) for one in (plain, small)]
    assert 0 < float((logits[0] - logits[1]).std()) < 0.5 * float(logits[0].std())
    assert small.fingerprint == plain.fingerprint


@pytest.mark.parametrize(("kind", "name"), [("internlm", "internlm_chat"), ("internlm2", "internlm2_chat")])
def test_its_chat_template_ends_an_output_with_one_token(kind: str, name: str, tmp_path: Path) -> None:
    made.write(tmp_path / "model", kind)
    tokenizer = models.load_tokenizer(str(tmp_path / "model"))
    template = templates.load(name, tokenizer)
    stop = {"internlm": "<eoa>", "internlm2": "<|im_end|>"}[kind]
    (index,) = tokenizer.encode(stop, special=True)
    assert index in template.stop_ids and index in tokenizer.special_ids
    assert index not in tokenizer.encode(f"say {stop} now", special=False)  # content cannot end a turn
    assert tokenizer.bos_id == 1


def test_trust_in_remote_code_is_passed_on_only_when_it_is_said(tmp_path: Path) -> None:
    """A checkpoint of a kind of its own, whose code leaves a mark when it is imported."""
    made.write(tmp_path / "model", "internlm2")
    raw = {**json.loads((tmp_path / "model" / "config.json").read_text()), "model_type": "theirs"}
    raw["auto_map"] = {"AutoConfig": "theirs.C", "AutoModelForCausalLM": "theirs.M"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(raw))
    (tmp_path / "model" / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nraise ValueError('ran')\n")
    with pytest.raises(UserError, match=r"train runs only with trust_remote_code=true.* chat and eval never run"):
        models.hf.load_pretrained(str(tmp_path / "model"), **CPU)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="cannot load the model"):
        models.hf.load_pretrained(str(tmp_path / "model"), trust_remote_code=True, **CPU)
    assert (tmp_path / "ran").exists()
