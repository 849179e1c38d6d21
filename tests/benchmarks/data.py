"""``python -m tests.benchmarks data``: every file of real data before and after, counted by a reader that is regular expressions alone."""

from __future__ import annotations

import os
from pathlib import Path

from tests.data.convert.raw_count import OTHER, RULES
from tests.data.convert.raw_table import HEAD, converted, row


def run(folder: Path, *, quick: bool) -> None:
    """Prints the table over the folder that ``AGENTTUNE_DATA`` names. `quick` leaves nothing out: there is nothing to measure."""
    data = os.environ.get("AGENTTUNE_DATA")
    if not data or not Path(data).is_dir():
        print("no real data: name its folder in AGENTTUNE_DATA")
        return
    print(HEAD)
    wrong = []
    for number, file in enumerate(RULES):
        found = converted(Path(data), folder / str(number), file)
        wrong += found.unexplained
        print(row(found))
    for file, why in OTHER.items():
        print(f"{file:58} no records: {why}")
    print(f"{len(RULES)} files; differences that no reject and no named change explains: {len(wrong)}", *wrong, sep="\n  ")
