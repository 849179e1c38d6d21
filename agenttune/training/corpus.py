"""The samples of a run as tokens: read, rendered, fitted to the length, counted; held in flat arrays so that a large set stays small."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agenttune import protocols
from agenttune.config import DataFile, TrainConfig
from agenttune.data.fit import fit
from agenttune.data.native import writer_of
from agenttune.data.pack import trained_length
from agenttune.data.render import MARKERS, render
from agenttune.errors import Refusal, UserError
from agenttune.files import file_hash
from agenttune.sources import detect
from agenttune.sources.reading.files import expand
from agenttune.sources.reading.files import read as records_of
from agenttune.sources.reading.records import parse
from agenttune.templates import Piece, Template
from agenttune.training.token_cache import CachingTokenizer
from agenttune.values.sample import Sample, sample_from_json
from agenttune.values.tokens import Rendered, Tokenizer

REASONING = "reasoning_dropped"  # earlier outputs that the template shows without their reasoning
READ_AHEAD = 256  # samples whose texts are encoded at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What the data files hold: samples with the file each came from, and how many lines could not be read, by reason."""

    samples: tuple[Sample, ...]
    owners: tuple[int, ...]
    files: tuple[DataFile, ...]
    hashes: tuple[str, ...]
    rejected: Mapping[str, int] = field(default_factory=dict)
    first_reject: str = ""


def read_samples(files: Sequence[DataFile]) -> Samples:
    """Reads normalised samples, one JSON object a line. A bad line is counted; a file with nothing usable is a `UserError`."""
    samples: list[Sample] = []
    owners: list[int] = []
    rejected: Counter[str] = Counter()
    first = ""
    for index, file in enumerate(files):
        before = len(samples)
        for number, line in _lines(file.path):
            try:
                samples.append(sample_from_json(_object(line)))
                owners.append(index)
            except Refusal as refusal:
                rejected[refusal.code] += 1
                first = first or f"{file.path}:{number}: {refusal.sentence}"
        if len(samples) == before:
            why = f" ({first})" if first else ": it is empty"
            raise UserError(f"{file.path} holds no usable sample{why}{_raw_log(file.path)}")
    hashes = tuple(file_hash(file.path) for file in files)
    return Samples(
        samples=tuple(samples), owners=tuple(owners), files=tuple(files), hashes=hashes, rejected=dict(rejected), first_reject=first
    )


def _raw_log(path: str) -> str:
    """What to do with a file whose first record is in a format that can be converted; empty for any other."""
    try:
        record = next(records_of(expand([path])[0]), None)
        found = detect(parse(record)) if record is not None else None
    except (Refusal, UserError):
        return ""
    return f"; it is a log in the format {found[0]}: agenttune convert {found[0]} {path} -o samples.jsonl" if found else ""


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    if not Path(path).is_file():
        raise UserError(f"there is no data file {path}; name one with data=FILE (agenttune convert writes it)")
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise UserError(f"cannot read data file {path}: {error.strerror or error}") from error


def _object(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refusal("json", "the line is not JSON", line[:200].decode("utf-8", "replace")) from error


def resolve_protocol(wanted: str, samples: Sequence[Sample]) -> str:
    """The one protocol of a run: `wanted`, or under ``auto`` what the samples say. Raises `UserError` where they disagree."""
    found = sorted({one.protocol for one in samples})
    if wanted == "auto" and len(found) > 1:
        raise UserError(f"the samples speak several protocols ({', '.join(found)}); convert them to one")
    if wanted == protocols.NATIVE and len(found) == 1 and found[0] in protocols.NATIVES:
        wanted = found[0]
    if wanted != "auto" and found != [wanted]:
        other = next(one for one in found if one != wanted)
        raise UserError(f"the config says protocol {wanted} and the data holds samples of {other}; convert them, or say protocol={other}")
    protocols.get(found[0])
    return found[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """Renderings in flat arrays. ``corpus[i]`` gives one back (without kinds); `draws` lists them as often as an epoch sees each.

    `counts` says what was rejected (``too_long``, ``unanswered``, ``untrained``, …) and changed (`data.fit.CHANGES`).
    """

    ids: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    prompts: npt.NDArray[np.int64]
    names: tuple[str, ...]
    draws: tuple[int, ...]
    counts: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Rendered:
        part = slice(int(self.starts[index]), int(self.starts[index + 1]))
        return Rendered(
            token_ids=tuple(self.ids[part].tolist()),
            weights=tuple(self.weights[part].tolist()),
            kinds=(),
            prompt_ends=(int(self.prompts[index]),),
            id=self.names[index],
        )

    def path(self, index: int) -> npt.NDArray[np.uint32]:
        """The ids of rendering `index` that must be computed: all before its last trained one."""
        part = self.weights[self.starts[index] : self.starts[index + 1]]
        start = int(self.starts[index])
        return self.ids[start : start + int(np.flatnonzero(part)[-1])]

    def length(self, index: int) -> int:
        """Tokens of rendering `index`."""
        return int(self.starts[index + 1] - self.starts[index])

    def supervised(self, index: int) -> int:
        """Trained tokens of rendering `index`."""
        return int(np.count_nonzero(self.weights[self.starts[index] + 1 : self.starts[index + 1]]))

    def fingerprint(self) -> str:
        """A hash of every id and weight and of the draws: it changes with data, template, tokenizer, weights and length."""
        digest = hashlib.sha256()
        for array in (self.ids, self.weights, self.starts, np.asarray(self.draws, np.int64)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def make_corpus(read: Samples, template: Template, tokenizer: Tokenizer, config: TrainConfig) -> Corpus:
    """Renders every sample. One longer than ``config.length`` is fitted (observations elided, rounds dropped) or rejected, never cut.

    Raises `UserError` where nothing trained is left.
    """
    cached = CachingTokenizer(tokenizer)
    counts: Counter[str] = Counter(read.rejected)
    kept: list[Rendered] = []
    owners: list[int] = []
    for index, (sample, owner) in enumerate(zip(read.samples, read.owners, strict=True)):
        if index % READ_AHEAD == 0:
            pieces = [piece for one in read.samples[index : index + READ_AHEAD] for piece in _pieces(one, template)]
            outputs = [piece.text for piece in pieces if piece.kind == "output"]
            cached.read_ahead((piece.text for piece in pieces if piece.kind not in (*MARKERS, "output")), outputs)
        made = _rendered(sample, template, cached, config, counts)
        kept += made
        owners += [owner] * len(made)
    if not kept:
        said = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()) if count)
        raise UserError(f"no token is trained: of {len(read.samples)} samples nothing is left ({said}); check weights, length and outputs")
    lengths = [len(one.token_ids) for one in kept]
    return Corpus(
        ids=np.fromiter(chain.from_iterable(one.token_ids for one in kept), np.uint32, sum(lengths)),
        weights=np.fromiter(chain.from_iterable(one.weights for one in kept), np.float64, sum(lengths)),
        starts=np.cumsum([0, *lengths], dtype=np.int64),
        prompts=np.array([one.prompt_ends[0] if one.prompt_ends else len(one.token_ids) for one in kept], np.int64),
        names=tuple(one.id for one in kept),
        draws=_draws(owners, read.files, config.seed),
        counts={code: count for code, count in counts.items() if count},
    )


def _pieces(sample: Sample, template: Template) -> list[Piece]:
    """The pieces of a sample that the template carries as a whole; none of another, whose parts are looked at later."""
    try:
        return writer_of(sample, template).pieces(sample.turns)
    except Refusal:
        return []


def _rendered(sample: Sample, template: Template, tokenizer: Tokenizer, config: TrainConfig, counts: Counter[str]) -> list[Rendered]:
    refused: list[Refusal] = []
    made = render(sample, template, tokenizer, kind_weights=config.weights, refused=refused)
    counts.update(one.code for one in refused)
    counts[REASONING] += sum(one.dropped for one in made)
    if not made:
        counts["unanswered"] += not refused
        return []
    if max(len(one.token_ids) for one in made) > config.length:
        try:
            fitted = fit(sample, template, tokenizer, config.length)
        except Refusal as refusal:
            counts[refusal.code] += 1
            return []
        counts.update(fitted.changes)
        made = render(fitted.sample, template, tokenizer, kind_weights=config.weights, refused=[])
    trained = [one for one in made if trained_length(one)]
    if not trained:
        counts["untrained"] += 1
    return trained


def _draws(owners: Sequence[int], files: Sequence[DataFile], seed: int) -> tuple[int, ...]:
    """Each rendering as often as its file's weight says; a fraction draws a part, the same for a seed."""
    found: list[int] = []
    for index, file in enumerate(files):
        own = [place for place, owner in enumerate(owners) if owner == index]
        whole = int(file.weight)
        part = round((file.weight - whole) * len(own))
        found += own * whole + sorted(random.Random(f"{seed} {index}").sample(own, part))
    if not found:
        raise UserError("every data file has weight 0, or so little that nothing is drawn")
    return tuple(found)
