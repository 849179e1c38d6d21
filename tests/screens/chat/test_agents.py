"""The agents of one conversation: a base and its adapters, over weights that are loaded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenttune import models
from agenttune.agent.toolbox import Toolbox
from agenttune.models.card import write_card
from agenttune.models.scripted import ScriptedModel
from agenttune.screens.chat.options import ChatOptions
from agenttune.screens.chat.start import AgentLoader
from agenttune.values.adapter import Card


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, str | None]]:
    """(how, model, adapter) of everything that is loaded; all models are scripted."""
    seen: list[tuple[str, str | None, str | None]] = []

    def load(name: str, *, adapter: str | None = None, **more: Any) -> ScriptedModel:
        seen.append(("load", name, adapter))
        return ScriptedModel([])

    def beside(base: ScriptedModel, adapter: str) -> ScriptedModel:
        seen.append(("beside", None, adapter))
        return ScriptedModel([])

    monkeypatch.setattr(models, "load", load)
    monkeypatch.setattr(models, "load_beside", beside)
    return seen


def test_the_base_and_all_adapters_are_one_load_of_the_weights(loads: list[Any]) -> None:
    loader = AgentLoader(ChatOptions(model="m", adapter="mine"), Toolbox([]))
    first, _ = loader.first()
    assert first.adapter == "mine"
    for adapter in ("", "other", "mine", ""):
        assert loader.with_adapter(adapter).adapter == adapter
    assert loads == [("load", "m", None), ("beside", None, "mine"), ("beside", None, "other")]


def test_one_question_has_its_adapter_merged(loads: list[Any]) -> None:
    AgentLoader(ChatOptions(model="m", adapter="mine", prompt="hi"), Toolbox([])).first()
    assert loads == [("load", "m", "mine")]


def test_an_adapters_folder_alone_is_named_beside_its_base_so_that_it_can_be_taken_off(loads: list[Any], tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    write_card(tmp_path, Card(base="m", base_fingerprint="0", protocol="react", template="auto", method="lora"))
    loader = AgentLoader(ChatOptions(model=str(tmp_path)), Toolbox([]))
    first, _ = loader.first()
    assert first.adapter == str(tmp_path)
    assert loader.with_adapter("").adapter == ""
    assert loads == [("load", "m", None), ("beside", None, str(tmp_path))]
