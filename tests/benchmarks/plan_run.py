"""One training run in a process of its own, and its peak memory: ``python -m tests.benchmarks.plan_run MODEL METHOD TOKENS FOLDER``.

Prints a JSON object: tokens and supervised tokens of a pack, the process's peak resident memory while it trained.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(model: str, method: str, words: int, folder: Path, checkpointing: bool) -> None:
    """Two steps of two packs each; every pack is one sample of about `words` tokens, half of them trained."""
    from agenttune.config import config_from
    from agenttune.training.events import TrainingEvent, TrainingStarted
    from agenttune.training.train import train

    data = folder / "data.jsonl"
    turn = {"system": "", "input": "one two " * (words // 4), "output": "Final Answer: " + "red green " * (words // 4)}
    rows = [{"id": str(n), "protocol": "react", "tools": [], "conversation": [{**turn, "system": f"s{n}"}], "meta": {}} for n in range(4)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    started: list[TrainingStarted] = []
    resident: list[int] = []

    def hear(event: TrainingEvent) -> None:
        if isinstance(event, TrainingStarted):
            started.append(event)
            resident.append(_status("VmRSS"))
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts here: loading is not training

    config = config_from(
        {
            "model": model, "data": str(data), "output": str(folder / "out"), "method": method, "device": "cpu", "dtype": "float32",
            "length": 8192, "pack": "pack", "pack_samples": 1, "pack_tokens": 8192, "lora": {"r": 16, "alpha": 32},
            "trainer": {"max_steps": 2, "gradient_accumulation_steps": 2, "gradient_checkpointing": checkpointing, "learning_rate": 1e-5},
        },
        "benchmark",
    )  # fmt: skip
    train(config, events=hear)
    (told,) = started
    found = {"tokens": told.tokens_computed // 4, "supervised": told.tokens_supervised // 4, "start": resident[0], "peak": _status("VmHWM")}
    print(json.dumps(found))


def _status(name: str) -> int:
    """Bytes of a line of ``/proc/self/status``."""
    return next(int(line.split()[1]) << 10 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), "--checkpointing" in sys.argv)
