"""What a person may ask of a conversion: one value that the command line fills, `convert` takes and every worker is handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, Protocol

from agenttune import protocols, sources
from agenttune.data.quality import repairs
from agenttune.errors import UserError, nearest
from agenttune.files import read_json
from agenttune.protocols.base import Parallel
from agenttune.sources.reading import files
from agenttune.values.sample import Sample
from agenttune.values.trajectory import Json

SAMPLE = "sample"
XTUNER = "xtuner"
XTUNER_SOURCE = "msagent"
_NOT_OF_THE_OUTPUT = ("check", "overwrite", "workers")  # options that change how a job runs, not what it writes
_DIGITS = 7  # of a shard's numbers
_TAKEN = ("rejects", "report", "findings")  # names of files beside the output


class Measure(Protocol):
    """Lengths in a model's tokens. An instance is plain data (a dataclass), since it is handed to workers and is part of a job's key."""

    def name(self) -> str:
        """Whose tokens they are, in a few words."""

    def tokens(self, sample: Sample, /) -> int:
        """The tokens of the sample's longest rendering."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` (from 1) of `of`: a run of the records. The outputs of all parts, one after the other, are that of the whole."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def range(self, count: int) -> tuple[int, int]:
        """The first record of this part and the first after it, of `count` records from 0."""
        return count * (self.number - 1) // self.of, count * self.number // self.of


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """Everything that can be chosen. As plain data it goes to workers and into a job's key.

    `protocol` writes the samples; `to` is ``sample`` or the name of a source that can be written. `parallel` says what becomes of parallel
    calls where the protocol has one call a step. `systems` maps scenarios to system texts, for records that only name theirs
    (`read_systems` reads a file). `split` maps a name to its share of the groups, ``{"dev": 0.05}``, written to ``OUT.dev.jsonl``.
    `mask_failed` gives calls that failed weight 0. `strict` makes rejects of warnings. `fix` names repairs (`repairs.NAMES`: all).
    `branches` and `failed_branches` choose the paths of message trees and of search trees. `compat` ``xtuner`` writes MSAgent records as
    XTuner v0.1.23 does, and names or refuses what that loses. `measure` tells lengths in tokens, of which `length` fit (0: any number).
    `shard` is one of several runs over the records. `check` reports only, and also tells what of a record was read nowhere. `overwrite`
    replaces files that are not this job's own. `workers` is a number of processes; the output is the same bytes whatever it is.
    """

    protocol: str = "react"
    to: str = SAMPLE
    parallel: Parallel = "split"
    systems: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, float] = field(default_factory=dict)
    mask_failed: bool = False
    strict: bool = False
    fix: tuple[str, ...] = ()
    branches: Literal["all", "best"] = "all"
    failed_branches: bool = False
    compat: str = ""
    measure: Measure | None = None
    length: int = 0
    shard: Shard | None = None
    check: bool = False
    overwrite: bool = False
    workers: int = 1

    def of_the_output(self) -> dict[str, Json]:
        """The options that what is written depends on."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_OF_THE_OUTPUT}


def refuse_options(options: ConvertOptions, source: str, inputs: Sequence[files.Input]) -> None:
    """Raises `UserError` for an unknown name, and for options that do not go together or not with this source and these inputs."""
    if options.protocol.partition("/")[0] == protocols.NATIVE and options.measure is None:
        raise UserError("--protocol native needs --model: its chat template writes the samples' words, and they are checked against it")
    protocols.get(options.protocol)
    repairs.refuse_unknown(options.fix)
    _refuse_split(options.split)
    _refuse_compat(options, source)
    _refuse_measure(options)
    if options.to != SAMPLE:
        sources.get_target(options.to)
    if options.shard and any(one.kind == "stdin" or one.once for one in inputs):
        raise UserError("--shard counts the records before it converts its own, and a stream cannot be read twice; name a file")


def _refuse_split(split: Mapping[str, float]) -> None:
    for name, share in split.items():
        if not 0 < share < 1 or not name.isidentifier() or name in _TAKEN:
            raise UserError(f'a split is written name=share, for example dev=5%; this is "{name}={share}"')
    if sum(split.values()) >= 1:
        raise UserError(f"the shares of the split {', '.join(f'{name}={share}' for name, share in split.items())} leave nothing over")


def _refuse_compat(options: ConvertOptions, source: str) -> None:
    """What XTuner writes does not go with something that XTuner does not do."""
    if not options.compat:
        return
    if options.compat != XTUNER:
        raise UserError(f'there is no --compat "{options.compat}"{nearest(options.compat, [XTUNER])}; known: {XTUNER}')
    if source != XTUNER_SOURCE:
        raise UserError(f"--compat {XTUNER} is for the source {XTUNER_SOURCE}, which alone XTuner converts; this is {source}")
    if options.to != SAMPLE:
        raise UserError(f"--compat {XTUNER} writes XTuner's own form; leave out --to {options.to}")
    if options.fix or options.mask_failed:
        raise UserError(f"--compat {XTUNER} changes nothing that XTuner does not change; leave out {'--fix' if options.fix else '--mask'}")


def _refuse_measure(options: ConvertOptions) -> None:
    """Tokens are counted of samples only."""
    if options.measure is not None and (options.to != SAMPLE or options.compat):
        raise UserError("--model counts the tokens of samples; leave out --to and --compat, or --model")
    if options.length and options.measure is None:
        raise UserError("--length needs --model: tokens are a model's")


def parse_shard(text: str | None) -> Shard | None:
    """``2/3`` as the second of three parts. Raises `UserError`."""
    if not text:
        return None
    number, _, of = text.partition("/")
    short = max(len(number), len(of)) <= _DIGITS and number.isdecimal() and of.isdecimal()
    if not (short and 1 <= int(number) <= int(of) < 1 << 20):
        raise UserError(f'a shard is written i/n, from 1/n to n/n, for example 2/3, and n is below a million; this is "{text[:80]}"')
    return Shard(int(number), int(of))


def parse_split(text: str | None) -> dict[str, float]:
    """``dev=5%`` or ``dev=0.05,test=0.1`` as shares by name. Raises `UserError` for anything else, and for a name twice."""
    parts: dict[str, float] = {}
    for part in text.split(",") if text else []:
        name, _, share = (one.strip() for one in part.partition("="))
        try:
            number = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
        except ValueError:
            number = -1.0
        if name in parts:
            raise UserError(f'a split is written name=share, for example dev=5%; this is "{part.strip()}"')
        parts[name] = number
    _refuse_split(parts)
    return parts


def read_systems(path: str | None) -> Mapping[str, str]:
    """Scenario → system text, out of a JSON file; nothing where no file is named. Raises `UserError`."""
    return files.check_mapping(read_json(path, "the file of system texts"), "the file of system texts") if path else {}
