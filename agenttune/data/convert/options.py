"""What a person may ask of a conversion, read and checked before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agenttune.data.convert.converted import SAMPLE, XTUNER, Settings
from agenttune.errors import UserError, nearest
from agenttune.files import read_json
from agenttune.sources.reading import files
from agenttune.values.trajectory import Json

XTUNER_SOURCE = "msagent"


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


def parse_shard(text: str | None, inputs: Sequence[files.Input]) -> Shard | None:
    """``2/3`` as the second of three parts. Raises `UserError`, for standard input too: it cannot be read twice."""
    if not text:
        return None
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) < 1 << 20):
        raise UserError(f'a shard is written i/n, from 1/n to n/n, for example 2/3; this is "{text}"')
    if any(one.kind == "stdin" for one in inputs):
        raise UserError("--shard counts the records before it converts its own, and standard input cannot be read twice; name a file")
    return Shard(int(number), int(of))


def parse_split(text: str | None) -> tuple[tuple[str, float], ...]:
    """``dev=5%`` or ``dev=0.05,test=0.1`` as names and shares. Raises `UserError`."""
    parts: list[tuple[str, float]] = []
    for part in text.split(",") if text else []:
        name, _, share = (one.strip() for one in part.partition("="))
        try:
            number = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
        except ValueError:
            number = -1.0
        if not 0 < number < 1 or not name.isidentifier() or name in ("rejects", "report", "findings", *(one for one, _ in parts)):
            raise UserError(f'a split is written name=share, for example dev=5%; this is "{part.strip()}"')
        parts.append((name, number))
    if sum(share for _, share in parts) >= 1:
        raise UserError(f"the shares of the split {text} leave nothing over")
    return tuple(parts)


def refuse_compat(settings: Settings, source: str) -> None:
    """Raises `UserError` where what XTuner writes was asked for together with something that XTuner does not do."""
    if not settings.compat:
        return
    if settings.compat != XTUNER:
        raise UserError(f'there is no --compat "{settings.compat}"{nearest(settings.compat, [XTUNER])}; known: {XTUNER}')
    if source != XTUNER_SOURCE:
        raise UserError(f"--compat {XTUNER} is for the source {XTUNER_SOURCE}, which alone XTuner converts; this is {source}")
    if settings.to != SAMPLE:
        raise UserError(f"--compat {XTUNER} writes XTuner's own form; leave out --to {settings.to}")
    if settings.fix or settings.mask_failed:
        raise UserError(f"--compat {XTUNER} changes nothing that XTuner does not change; leave out {'--fix' if settings.fix else '--mask'}")


def refuse_measure(settings: Settings) -> None:
    """Raises `UserError` where tokens were asked for of something that is no sample."""
    if settings.measure is not None and (settings.to != SAMPLE or settings.compat):
        raise UserError("--model counts the tokens of samples; leave out --to and --compat, or --model")
    if settings.length and settings.measure is None:
        raise UserError("--length needs --model: tokens are a model's")


def systems_of(given: str | Mapping[str, Json] | None) -> Mapping[str, str]:
    """Scenario → system text, out of a mapping or the path of a JSON file. Raises `UserError`."""
    if isinstance(given, str):
        given = read_json(given, "the file of system texts")
    return files.check_mapping(dict(given) if isinstance(given, Mapping) else {} if given is None else given, "the file of system texts")
