"""The list of conformance, against our server in every protocol; against others under ``AGENTTUNE_PROVE=1``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.models.gguf import embedded, folder_of
from agenttune.models.scripted import ScriptedModel
from tests.benchmarks.other_servers import llama_serve, transformers_serve
from tests.serving.conformance import CHECKS, failures
from tests.serving.started import started


@pytest.mark.parametrize("protocol", ["react", "hermes"])
def test_our_server_does_all_of_it(protocol: str, serving: Callable[..., Any]) -> None:
    """A model that says the same whatever it is asked: what a reply must hold is the server's doing."""
    said = "Final Answer: Hello, one two three four five." if protocol == "react" else "Hello, one two three four five."
    client = serving(ScriptedModel(lambda prompt: said, context=50_000), protocol=protocol)
    assert failures(f"http://127.0.0.1:{client.port}", "desk") == {}
    assert len(CHECKS) == 29


@pytest.mark.slow
def test_our_server_and_others_side_by_side(smollm2: str) -> None:
    """The score of each, and what it does otherwise, on SmolLM2-135M; the others only under ``AGENTTUNE_PROVE=1``. Ours does all of it."""
    folder = folder_of(embedded())
    with started(smollm2, "--protocol", "hermes") as server:
        found = {"agenttune serve": failures(server.base.removesuffix("/v1"), smollm2)}
    if os.environ.get("AGENTTUNE_PROVE"):
        with transformers_serve(folder, threads=2) as base:
            if base is not None:
                found["transformers serve"] = failures(base, str(folder))
        with llama_serve(Path(embedded()), threads=2) as base:
            if base is not None:
                found["llama.cpp's server (xllamacpp)"] = failures(base)
    for name, missing in found.items():
        print(f"{name}: {len(CHECKS) - len(missing)} of {len(CHECKS)}")
        for check, why in missing.items():
            print(f"    {check}: {why}")
    assert found["agenttune serve"] == {}
