"""Builds the suite's training records and cases: ``python -m agenttune.desk.build -o FOLDER [--seed 0] [--requests N]``.

Writes ``train.msagent.jsonl`` (raw records for ``agenttune convert msagent``), ``train.live.jsonl`` (whole conversations for ``agenttune
convert trajectory``), ``dev.jsonl`` and ``heldout.jsonl``. The same arguments give the same bytes. The shares of the training half are
the fields of `Recipe` (recipe.py); ``--set key=value`` changes one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agenttune.desk import cases, checks, raw
from agenttune.desk.execute import Runner
from agenttune.desk.live_train import train_trajectories
from agenttune.desk.recipe import Recipe
from agenttune.desk.training import Maker
from agenttune.files import write_text
from agenttune.values.trajectory_json import trajectory_to_json


def train_records(recipe: Recipe) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Raw records of the training half, whole tool lists only, and what they are."""
    runner = Runner(recipe)
    rng = random.Random(f"raw {recipe.seed}")
    ends = random.Random(f"ends {recipe.seed}")
    records: list[dict[str, Any]] = []
    counted: Counter[str] = Counter()
    for made in itertools.islice(Maker(recipe).lists(), -(-recipe.requests // recipe.per_list)):
        system = raw.system_value(made.system, tuple(offer.spec for offer in made.offers), made.shape, rng)
        for request in made.requests:
            trajectory = runner.run(request, made.offers, made.system)
            answered = not request.calls or ends.random() < recipe.answered
            records.append(raw.record(trajectory, system, f"desk_{len(records):05d}", answered=answered))
            calls = sum(bool(step.calls) for step in trajectory.rounds[0].steps)
            faults = any(plan.fault for plan in request.calls)
            kind = "retry" if faults else f"{calls} calls" if calls else request.kind
            counted.update((f"kind {kind}", f"shape {made.shape}", f"language {request.lang}"))
    return records, counted


def write(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
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
        recipe = Recipe().changed([f"seed={given.seed}", *given.set])
    except ValueError as error:
        parser.error(str(error))
    if given.requests is not None:
        recipe = recipe.changed([f"requests={given.requests}"])
    wrong = checks.problems()
    if wrong:
        parser.exit(2, "\n".join(["the suite breaks its promises:", *wrong]) + "\n")
    given.output.mkdir(parents=True, exist_ok=True)
    records, counted = train_records(recipe)
    write(given.output, "train.msagent.jsonl", records)
    print(f"train.msagent.jsonl: {len(records)} records; " + ", ".join(f"{name} {count}" for name, count in sorted(counted.items())))
    talks, kinds = train_trajectories(recipe)
    write(given.output, "train.live.jsonl", [trajectory_to_json(one) for one in talks])
    print(f"train.live.jsonl: {len(talks)} conversations; " + ", ".join(f"{name} {count}" for name, count in sorted(kinds.items())))
    for split in ("dev", "heldout"):
        rows = cases.cases(split, recipe)
        for sentence in checks.same_kind(rows):
            parser.exit(2, f"{split}: {sentence}\n")
        write(given.output, f"{split}.jsonl", rows)
        print(f"{split}.jsonl: {len(rows)} cases\n{checks.summary(rows)}")


if __name__ == "__main__":
    main()
