"""Runs in an environment of its own: XTuner's pipeline over one file, its map function under `datasets.map`. Prints one line of JSON.

Only the file of the map function is executed: the package around it wants a training stack that this measurement has no use for.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

FUNCTION = Path("dataset") / "map_fns" / "dataset_map_fns" / "msagent_map_fn.py"


def main() -> None:
    """``python peer_convert.py FILE WORKERS ROUNDS``."""
    import datasets

    datasets.disable_progress_bars()
    spec = importlib.util.find_spec("xtuner")
    assert spec is not None and spec.submodule_search_locations is not None
    inner = importlib.util.spec_from_file_location("msagent_map_fn", Path(spec.submodule_search_locations[0]) / FUNCTION)
    assert inner is not None and inner.loader is not None
    module = importlib.util.module_from_spec(inner)
    sys.modules["msagent_map_fn"] = module
    inner.loader.exec_module(module)
    file, workers, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    times = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            start, used = time.perf_counter(), sum(os.times()[:4])
            data = datasets.load_dataset("json", data_files=file, split="train", cache_dir=cache)
            loaded = time.perf_counter()
            out = data.map(module.msagent_react_map_fn, num_proc=workers, remove_columns=data.column_names)
            times.append((loaded - start, time.perf_counter() - loaded, sum(os.times()[:4]) - used))
            kept = sum(1 for one in out["conversation"] if one)
    versions = {name: importlib.metadata.version(name) for name in ("xtuner", "datasets")}
    print(json.dumps({"times": times, "records": len(data), "kept": kept, "versions": versions}))


if __name__ == "__main__":
    main()
