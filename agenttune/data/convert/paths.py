"""The files of one conversion, and the rule that none of them is written over by surprise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agenttune.data.convert.options import ConvertOptions
from agenttune.errors import UserError
from agenttune.files import file_hash
from agenttune.sources.reading import files
from agenttune.values.trajectory import Json


@dataclass(frozen=True, slots=True)
class Paths:
    """Every file of one job."""

    out: Path
    rejects: Path
    findings: Path
    report: Path
    page: Path
    splits: Mapping[str, Path]

    @classmethod
    def beside(cls, out: str, splits: Iterable[str]) -> Paths:
        """The names that go with `out`, which must end in ``.jsonl``. Raises `UserError`."""
        path = Path(out)
        if path.suffix != ".jsonl" or not path.stem:
            raise UserError(f"the output must be named something.jsonl; this is {out}")
        named = {name: path.with_suffix(f".{name}.jsonl") for name in splits}
        rest = [path.with_suffix(f".{name}") for name in ("rejects.jsonl", "findings.jsonl", "report.json", "report.html")]
        return cls(path, rest[0], rest[1], rest[2], rest[3], named)

    def every(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.out, self.rejects, self.findings, self.report, self.page, *self.splits.values())

    def refuse(self, inputs: Sequence[files.Input], job: str, *, overwrite: bool) -> None:
        """Raises `UserError` if one of them is an input, or exists and is not this job's own."""
        read = {one.path.resolve() for one in inputs if one.path}
        for path in self.every():
            if path.resolve() in read:
                raise UserError(f"{path} would be written over, and it is one of the inputs")
            if path.is_dir():
                raise UserError(f"{path} is a folder")
        taken = next((path for path in self.every() if path.exists()), None)
        if taken and not overwrite and self.job() != job and not self._only_checked():
            raise UserError(f"{taken} exists and is not this same job's own; choose another name or say --overwrite")

    def outdated(self, *, samples: bool) -> Iterator[Path]:
        """What must go before new files take their places: the old report and its page, and the outputs that nothing will replace.

        `samples`: whether there will be new ones. Of an earlier run's outputs, those that its report tells of and that are unchanged.
        """
        told = self._told()
        yield self.report
        yield self.page
        if not samples:
            yield from (self.out, *self.splits.values())
        for one in told.get("outputs") or ():
            path = self.out.with_name(Path(str(one.get("name"))).name)
            if (
                path not in self.every()
                and path.name.startswith(f"{self.out.stem}.")
                and path.is_file()
                and file_hash(path) == one.get("sha256")
            ):
                yield path

    def refuse_check(self, inputs: Sequence[files.Input], job: str, *, overwrite: bool) -> None:
        """Raises `UserError` like `refuse`, and always where a check's report would replace that of an output which is there."""
        self.refuse(inputs, job, overwrite=overwrite)
        if self.out.exists():
            raise UserError(f"{self.report} tells how {self.out} was made; give the check another name, or none")

    def job(self) -> str | None:
        """The job that wrote the report that is there, if one is."""
        found = self._told().get("job")
        return found if isinstance(found, str) else None

    def _only_checked(self) -> bool:
        """Whether nothing is there but what a check left: that can be had again."""
        rest = (self.out, self.rejects, *self.splits.values())
        return self._told().get("checked_only") is True and not any(path.exists() for path in rest)

    def _told(self) -> dict[str, Json]:
        try:
            value = json.loads(self.report.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def job_key(source: str, inputs: Sequence[files.Input], paths: Paths | None, options: ConvertOptions) -> str:
    """A hash of the source, the inputs' names, the output and the options: the same job may replace its own output."""
    names = [str(one.path.resolve()) if one.path else one.name for one in inputs]
    text = json.dumps([source, names, str(paths.out.resolve()) if paths else None, options.of_the_output()], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
