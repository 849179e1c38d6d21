"""Suites: a shipped folder under evals/, or a file of samples, as cases. One reader a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agenttune import sources
from agenttune.errors import UserError, nearest
from agenttune.evaluation.bfcl.wheel import MULTI_TURN
from agenttune.evaluation.predict import Talker
from agenttune.evaluation.score import score
from agenttune.evaluation.suites import bfcl, desk, plugin, records, samples, tau
from agenttune.evaluation.suites.bfcl_multi_turn import MultiTurn
from agenttune.evaluation.suites.plugin import Reader
from agenttune.evaluation.value_matching import COMPARISONS
from agenttune.files import read_text, shipped
from agenttune.values.case import Case, Score
from agenttune.values.trajectory import Reject, Step
from agenttune.yaml_text import yaml_value

READERS: Mapping[str, Reader] = {"desk": desk.read, "samples": samples.read}
Judge = Callable[[Case, Step], Score]
Hold = Callable[[Talker], Callable[[Sequence[Case]], list[Score]]]
MAX_NEW_TOKENS = 96  # of a reply, where a suite says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cases of one protocol under names of their own, and how many lines or turns were left out, by reason code.

    Where each case is a whole conversation, `hold` holds and judges it (a case's sample is then its first prompt), and `answers_hash`
    is of what is right in them.
    """

    cases: tuple[Case, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    judge: Judge = score
    max_new_tokens: int = MAX_NEW_TOKENS
    hold: Hold | None = None
    answers_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteLocation:
    """Where a suite's cases are, who reads them, and the protocol they are written in if nobody names one (None: it is in them)."""

    path: Path
    read: Reader
    protocol: str | None = None
    judge: Judge = score
    max_new_tokens: int = MAX_NEW_TOKENS
    conversations: MultiTurn | None = None


def recording(name: str) -> list[Score] | None:
    """The judgements in ``tau:FILE``, a recorded run; None for a suite that a model is asked. Raises `UserError`."""
    base, _, rest = name.partition(":")
    if base not in _shipped() or _settings(shipped("evals") / base / "suite.yaml").get("reader") != "tau":
        return None
    return list(tau.read(_given(base, rest)))


def read(name: str, *, protocol: str | None = None) -> list[Case]:
    """The cases of `load`."""
    return list(load(name, protocol=protocol).cases)


def load(name: str, *, protocol: str | None = None) -> Suite:
    """The cases of ``desk``, ``desk:dev`` (a suite and one of its splits), a suite's folder, or a file of samples.

    ``./reader.py``, ``package.module`` or an entry point is a reader of your own, and ``./reader.py:FILE`` gives it a file. A
    suite is written under `protocol`, else under its own; samples name theirs, which must be `protocol` if one is given.
    ``bfcl:simple_python,multiple`` names categories; ``msagent:FILE``, or any other format that ``convert`` reads, reads a file of
    it. Raises `UserError` for what is not there or holds nothing usable.
    """
    place = locate(name)
    cases: list[Case] = []
    rejects: list[Reject] = []
    for one in place.read(place.path, protocol or place.protocol):
        cases.append(one) if isinstance(one, Case) else rejects.append(one)
    _check(place.path, cases, rejects)
    left_out: dict[str, int] = {}
    for reject in rejects:
        left_out[reject.code] = left_out.get(reject.code, 0) + 1
    made = Suite(cases=tuple(cases), left_out=left_out, judge=place.judge, max_new_tokens=place.max_new_tokens)
    held = place.conversations
    return made if held is None else replace(made, hold=held.hold, answers_hash=held.answers_hash)


def _check(path: Path, cases: Sequence[Case], rejects: Sequence[Reject]) -> None:
    if not cases:
        why = f" ({rejects[0].file}:{rejects[0].line}: {rejects[0].sentence})" if rejects else ""
        raise UserError(f"{path} holds no case: there is nothing to evaluate{why}; agenttune convert writes samples")
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise UserError(f'{path} has two cases with the id "{case.id}"; give each its own')
        seen.add(case.id)
        for name, how in case.compare.items():
            if how not in COMPARISONS:
                known = f"{nearest(str(how), COMPARISONS)}; known: {', '.join(COMPARISONS)}"
                raise UserError(f'{path}: case {case.id} compares "{name}" as "{how}"{known}')
        if case.sample.protocol != cases[0].sample.protocol:
            raise UserError(f"{path} mixes {cases[0].sample.protocol} and {case.sample.protocol}; evaluate one protocol at a time")


def locate(name: str) -> SuiteLocation:
    """Where the cases are that `name` means. A shipped name goes before a file of that name. Raises `UserError`."""
    base, _, rest = name.partition(":")
    folder = shipped("evals") / base if base in _shipped() else Path(base)
    if (folder / "suite.yaml").is_file():
        return _of_folder(folder, base, rest)
    if Path(name).is_file() and not name.endswith(".py"):
        return SuiteLocation(path=Path(name), read=records.reader("trajectory") if _is_trajectory(Path(name)) else samples.read)
    if base in sources.SHIPPED and rest:
        return SuiteLocation(path=_given(base, rest), read=records.reader(base))
    reader = plugin.find(base)
    if reader is not None:
        return SuiteLocation(path=Path(rest or base), read=reader)
    raise UserError(f'there is no suite or file "{name}"{nearest(base, _shipped())}; shipped suites: {", ".join(_shipped())}')


def _shipped() -> list[str]:
    return sorted(one.parent.name for one in shipped("evals").glob("*/suite.yaml"))


def _is_trajectory(path: Path) -> bool:
    """Whether the first line of a file is a trajectory of ours: a run that was saved, or what ``convert --to trajectory`` wrote."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return '"rounds"' in file.readline(1 << 20)


def _given(base: str, rest: str) -> Path:
    if not rest:
        raise UserError(f"{base} reads a file that you name: {base}:FILE")
    if not Path(rest).exists():
        raise UserError(f"there is no file {rest} for {base} to read; evals/{base}/README.md says where to get it")
    return Path(rest)


def _of_folder(folder: Path, base: str, rest: str) -> SuiteLocation:
    suite = _settings(folder / "suite.yaml")
    reader, protocol, most = str(suite.get("reader") or "samples"), suite.get("protocol"), suite.get("max_new_tokens") or MAX_NEW_TOKENS
    if not isinstance(most, int) or most < 1:
        raise UserError(f"max_new_tokens in {folder / 'suite.yaml'} must be a whole number of 1 or more, not {most!r}")
    if reader == "bfcl":
        categories = bfcl.named(rest)
        if categories[0] in MULTI_TURN:
            talks = MultiTurn(categories=categories)
            return SuiteLocation(path=Path(base), read=talks.read, protocol=protocol, max_new_tokens=most, conversations=talks)
        found = bfcl.Bfcl(categories=categories)
        return SuiteLocation(path=Path(base), read=found.read, protocol=protocol, judge=found.judge, max_new_tokens=most)
    if reader == "records":
        return SuiteLocation(path=_given(base, rest), read=records.reader(str(suite.get("source"))), protocol=protocol, max_new_tokens=most)
    if reader == "tau":
        raise UserError(f"{base} holds runs that were recorded: agenttune eval {base}:FILE -o RUN, with no model")
    if reader not in READERS:
        raise UserError(f'the suite {base} names the reader "{reader}"{nearest(reader, READERS)}; known: {", ".join(READERS)}')
    splits = suite.get("splits")
    if not isinstance(splits, dict) or not splits:
        raise UserError(f'{folder / "suite.yaml"} needs "splits", a table of names and files')
    split = rest or str(suite.get("default") or next(iter(splits)))
    if split not in splits:
        raise UserError(f'the suite {base} has no split "{split}"{nearest(split, splits)}; it has {", ".join(splits)}')
    return SuiteLocation(path=folder / str(splits[split]), read=READERS[reader], protocol=protocol, max_new_tokens=most)


def _settings(path: Path) -> dict[str, Any]:
    """A ``suite.yaml``: data alone. A reader of one's own is named on the command line, never by a file that somebody sent."""
    suite = yaml_value(read_text(path, "suite"), str(path))
    if not isinstance(suite, dict):
        raise UserError(f'{path} needs "splits", a table of names and files')
    return suite
