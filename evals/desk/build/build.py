"""Builds the suite's training records and cases: ``python evals/desk/build/build.py -o FOLDER [--seed 0] [--requests N]``.

Writes ``train.msagent.jsonl`` (raw records for ``agenttune convert msagent``), ``dev.jsonl`` and ``heldout.jsonl``. The same arguments
give the same bytes. The shares of the training half are the fields of `Recipe` (recipe.py); ``--set key=value`` changes one.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = "agenttune_desk_build"


def _package() -> None:
    """This folder as a package, so that its files can import each other wherever it lies."""
    if PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(PACKAGE, HERE / "__init__.py", submodule_search_locations=[str(HERE)])
        assert spec and spec.loader
        sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACKAGE])


def part(name: str) -> Any:
    """The file `name` of this folder, imported."""
    _package()
    return importlib.import_module(f"{PACKAGE}.{name}")


def train_records(recipe: Any) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Raw records of the training half, whole tool lists only, and what they are."""
    runner = part("execute").Runner(recipe)
    rng = random.Random(f"raw {recipe.seed}")
    ends = random.Random(f"ends {recipe.seed}")
    records: list[dict[str, Any]] = []
    counted: Counter[str] = Counter()
    for made in itertools.islice(part("training").Maker(recipe).lists(), -(-recipe.requests // recipe.per_list)):
        system = part("raw").system_value(made.system, tuple(offer.spec for offer in made.offers), made.shape, rng)
        for request in made.requests:
            trajectory = runner.run(request, made.offers, made.system)
            answered = not request.calls or ends.random() < recipe.answered
            records.append(part("raw").record(trajectory, system, f"desk_{len(records):05d}", answered=answered))
            calls = sum(bool(step.calls) for step in trajectory.rounds[0].steps)
            faults = any(plan.fault for plan in request.calls)
            kind = "retry" if faults else f"{calls} calls" if calls else request.kind
            counted.update((f"kind {kind}", f"shape {made.shape}", f"language {request.lang}"))
    return records, counted


def write(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    from agenttune.files import write_text

    write_text(folder / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks the cards, builds, and prints what was made. Ends with a sentence and exit code 2 where a promise is broken."""
    parser = argparse.ArgumentParser(description="build the desk suite: training records and cases")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--requests", type=int, help="a smaller training half: the first N requests, in whole tool lists")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another share, see recipe.py")
    given = parser.parse_args(arguments)
    try:
        recipe = part("recipe").Recipe().changed([f"seed={given.seed}", *given.set])
    except ValueError as error:
        parser.error(str(error))
    if given.requests is not None:
        recipe = recipe.changed([f"requests={given.requests}"])
    wrong = part("checks").problems()
    if wrong:
        parser.exit(2, "\n".join(["the suite breaks its promises:", *wrong]) + "\n")
    given.output.mkdir(parents=True, exist_ok=True)
    records, counted = train_records(recipe)
    write(given.output, "train.msagent.jsonl", records)
    print(f"train.msagent.jsonl: {len(records)} records; " + ", ".join(f"{name} {count}" for name, count in sorted(counted.items())))
    for split in ("dev", "heldout"):
        rows = part("cases").cases(split, recipe)
        for sentence in part("checks").same_kind(rows):
            parser.exit(2, f"{split}: {sentence}\n")
        write(given.output, f"{split}.jsonl", rows)
        print(f"{split}.jsonl: {len(rows)} cases\n{part('checks').summary(rows)}")


if __name__ == "__main__":
    main()
