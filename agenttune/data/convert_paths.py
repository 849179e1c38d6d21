"""The files of one conversion, and the rule that none of them is written over by surprise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agenttune.data.convert_part import Settings
from agenttune.errors import UserError
from agenttune.sources import files


@dataclass(frozen=True, slots=True)
class Paths:
    """Every file of one job."""

    out: Path
    rejects: Path
    findings: Path
    report: Path
    splits: Mapping[str, Path]

    @classmethod
    def beside(cls, out: str, splits: Sequence[str]) -> Paths:
        """The names that go with `out`, which must end in ``.jsonl``. Raises `UserError`."""
        path = Path(out)
        if path.suffix != ".jsonl" or not path.stem:
            raise UserError(f"the output must be named something.jsonl; this is {out}")
        named = {name: path.with_suffix(f".{name}.jsonl") for name in splits}
        return cls(path, path.with_suffix(".rejects.jsonl"), path.with_suffix(".findings.jsonl"), path.with_suffix(".report.json"), named)

    def every(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.out, self.rejects, self.findings, self.report, *self.splits.values())

    def refuse(self, inputs: Sequence[files.Input], job: str, *, overwrite: bool) -> None:
        """Raises `UserError` if one of them is an input, or exists and is not this job's own."""
        read = {one.path.resolve() for one in inputs if one.path}
        for path in self.every():
            if path.resolve() in read:
                raise UserError(f"{path} would be written over, and it is one of the inputs")
            if path.is_dir():
                raise UserError(f"{path} is a folder")
        taken = next((path for path in self.every() if path.exists()), None)
        if taken and not overwrite and self.job() != job:
            raise UserError(f"{taken} exists and is not this same job's own; choose another name or say --overwrite")

    def job(self) -> str | None:
        """The job that wrote the report that is there, if one is."""
        try:
            value = json.loads(self.report.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return value.get("job") if isinstance(value, dict) else None


def job_key(source: str, inputs: Sequence[files.Input], paths: Paths, settings: Settings) -> str:
    """A hash of the source, the inputs' names, the output and the options: the same job may replace its own output."""
    names = [str(one.path.resolve()) if one.path else one.name for one in inputs]
    text = json.dumps([source, names, str(paths.out.resolve()), asdict(settings)], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
