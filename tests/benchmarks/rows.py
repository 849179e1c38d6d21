"""What the training benchmark trains on: real trajectories as rows of ids and labels, in Packs that a run over the whole set would make."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttune import protocols, templates
from agenttune.data.convert.options import ConvertOptions, read_systems
from agenttune.data.convert.run import convert
from agenttune.data.fit import fit
from agenttune.data.pack import build, trained_length
from agenttune.data.packing import PackLimits, make_packing
from agenttune.data.render import render
from agenttune.errors import Refusal
from agenttune.training.corpus import read_samples
from agenttune.training.token_cache import CachingTokenizer
from agenttune.values.sample import Sample
from agenttune.values.tokens import Rendered

Row = dict[str, Any]
LIMITS = PackLimits(tokens=8192, samples=8)  # eight samples a step, ours in one Pack, the peers' in their best batches
LENGTH = 4096


@dataclass(frozen=True, slots=True)
class Data:
    """Renderings, and the Packs (indices into them) of one epoch in the order a run would see them."""

    renderings: tuple[Rendered, ...]
    samples: tuple[Sample, ...]
    packs: tuple[tuple[int, ...], ...]


def desk_file(folder: Path) -> Path:
    """The desk suite's training samples."""
    import runpy

    from agenttune.files import shipped

    runpy.run_path(str(shipped("evals") / "desk" / "build" / "build.py"))["main"](["-o", str(folder)])
    convert("msagent", [str(folder / "train.msagent.jsonl")], str(folder / "desk.jsonl"))
    return folder / "desk.jsonl"


def real_file(folder: Path) -> Path | None:
    """The real ReAct trajectories, converted; None without the data folder."""
    data = os.environ.get("AGENTTUNE_DATA")
    source = Path(data or "-") / "react-gpt4"
    if not source.is_dir():
        return None
    convert(
        "react",
        [str(source / "train.jsonl")],
        str(folder / "react.jsonl"),
        options=ConvertOptions(systems=read_systems(str(source / "systems.json"))),
    )
    return folder / "react.jsonl"


def load(file: Path, tokenizer: Any, most: int | None = None) -> Data:
    """Renders a file's samples and plans an epoch. `most` takes a seeded part, which shares less than the whole."""
    from agenttune.config import DataFile

    samples = list(read_samples([DataFile(path=str(file))]).samples)
    if most is not None and len(samples) > most:
        samples = random.Random(0).sample(samples, most)
    remembering = CachingTokenizer(tokenizer)
    template = templates.load("auto", remembering)
    kept: list[tuple[Rendered, Sample]] = []
    for sample in samples:
        try:
            fitted = fit(sample, template, remembering, LENGTH).sample
        except Refusal:
            continue
        made = [one for one in render(fitted, template, remembering) if trained_length(one)]
        kept += [(one, fitted) for one in made]
    renderings = tuple(one for one, _ in kept)
    planned = make_packing([one.token_ids[: trained_length(one)] for one in renderings], LIMITS, seed=0)
    order = tuple(planned.packs[index] for index in planned.order(0))
    return Data(renderings, tuple(sample for _, sample in kept), order)


def typical(data: Data, most: int = 200) -> tuple[Data, str]:
    """The same with the Packs first that resemble the epoch most, and what the epoch is like, and the first Pack.

    A benchmark has time for one or two Packs of hundreds, and they differ: what counts is their tokens, how many of them sharing
    saves, and how many are trained. Of these three the sum of relative distances to the epoch decides.
    """
    seen = {pack: _counts([data.renderings[index] for index in pack]) for pack in data.packs[:most]}
    sums = [sum(column) for column in zip(*seen.values(), strict=True)]
    tokens, computed, trained = (one / len(seen) for one in sums)

    def distance(pack: tuple[int, ...]) -> float:
        own = seen[pack]
        saved = (own[1] / own[0]) / (computed / tokens)
        return abs(own[0] / tokens - 1) + abs(saved - 1) + abs((own[2] / own[0]) / (trained / tokens) - 1)

    order = tuple(sorted(seen, key=distance))
    first = seen[order[0]]
    said = ", ".join(
        f"{name} {one[0]:,.0f} tokens, {100 * (1 - one[1] / one[0]):.0f} % saved by sharing, {100 * one[2] / one[0]:.1f} % trained"
        for name, one in (
            (f"a Pack of the epoch has on average (of {len(seen)})", (tokens, computed, trained)),
            ("the one taken first", first),
        )
    )
    return Data(data.renderings, data.samples, order), said


def _counts(chosen: Sequence[Rendered]) -> tuple[int, int, int]:
    """Tokens, tokens computed, tokens trained."""
    trained = sum(1 for one in chosen for weight in one.weights if weight)
    return sum(len(one.token_ids) for one in chosen), len(build(chosen).token_ids), trained


def one_group(data: Data, count: int = 4) -> Data:
    """The best case: `count` trajectories of the group that has most, as one Pack."""
    ((name, _),) = Counter(one.group for one in data.renderings).most_common(1)
    chosen = [index for index, one in enumerate(data.renderings) if one.group == name][:count]
    return Data(data.renderings, data.samples, (tuple(chosen),))


def plain(renderings: Sequence[Rendered], pack: int) -> list[Row]:
    """One row a rendering."""
    return [_row(one.token_ids, one.weights, 0, len(one.token_ids), pack) for one in renderings]


def exploded(renderings: Sequence[Rendered], pack: int) -> list[Row]:
    """One row for each trained output: all before it as context, and only it trained."""
    found = []
    for one in renderings:
        for start, end in zip(one.prompt_ends, one.turn_ends, strict=True):
            if any(one.weights[start:end]):
                found.append(_row(one.token_ids[:end], one.weights, start, end, pack))
    return found


def _row(ids: Sequence[int], weights: Sequence[float], start: int, end: int, pack: int) -> Row:
    labels = [token if start <= place < end and weights[place] else -100 for place, token in enumerate(ids)]
    return {"ids": list(ids), "labels": labels, "pack": pack}


def growing(steps: int, prompt: int = 128, step: int = 32) -> list[Row]:
    """A made trajectory of `steps` steps, exploded: `prompt` tokens, then `step` a step, half of them trained. Cost knows no content."""
    draw = random.Random(0)
    ids = [draw.randrange(100, 40_000) for _ in range(prompt + steps * step)]
    rows = []
    for number in range(1, steps + 1):
        end = prompt + number * step
        labels = [token if place >= end - step // 2 else -100 for place, token in enumerate(ids[:end])]
        rows.append({"ids": ids[:end], "labels": labels, "pack": 0})
    return rows


def write(rows: Iterable[Row], path: Path) -> Path:
    """The rows as a file for a contender."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def messages(samples: Sequence[Sample], path: Path) -> Path:
    """The samples as a file that both our reader and a reader of messages take."""
    from agenttune.values.sample import sample_to_json

    lines = []
    for sample in samples:
        said = []
        for turn in sample.turns:
            parts = (("system", turn.system), ("user", turn.input), ("assistant", turn.output))
            said += [{"role": role, "content": text} for role, text in parts if text]
        lines.append(json.dumps({**sample_to_json(sample), "messages": said}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    assert all(protocols.get(sample.protocol) for sample in samples)
    return path


def operations(rows: Sequence[Row], shape: Any, rank: int = 16) -> float:
    """Floating point operations that the Packs of `rows` need, each token once: forward, backward by inputs, and the adapter's gradient.

    A product of an ``[a, b]`` weight with T rows is ``2 a b T``; attention is two products forward and four backward over what each
    row sees; the head is one product each way at supervised rows. `shape` is the model's config.
    """
    d, wide, layers = shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers
    width = getattr(shape, "head_dim", None) or d // shape.num_attention_heads
    q, kv = shape.num_attention_heads * width, shape.num_key_value_heads * width
    linears = [(d, q), (d, kv), (d, kv), (q, d), (d, wide), (d, wide), (wide, d)]
    base, low = sum(a * b for a, b in linears), sum(rank * (a + b) for a, b in linears)
    total = 0.0
    for number in {row["pack"] for row in rows}:
        chosen = [row for row in rows if row["pack"] == number]
        pack = build([_rendered(row) for row in chosen])
        tokens, seen = len(pack.token_ids), sum(place + 1 for place in pack.positions)
        total += layers * (4.0 * base * tokens + 6.0 * low * tokens + 12.0 * q * seen)
        total += 4.0 * d * shape.vocab_size * len(set(pack.predictors))
    return total


def _rendered(row: Row) -> Rendered:
    weights = tuple(float(label >= 0) for label in row["labels"])
    return Rendered(token_ids=tuple(row["ids"]), weights=weights, kinds=())
