"""The picture on the front page is what its script draws from the recorded conversation, and loads nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "picture"


@pytest.fixture(scope="module")
def draw() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_picture_draw", PICTURE / "draw.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_drawn_from_the_recorded_conversation(draw: ModuleType) -> None:
    assert (PICTURE / "chat.svg").read_text(encoding="utf-8") == draw.drawn(draw.session())


def test_the_picture_loads_nothing() -> None:
    svg = (PICTURE / "chat.svg").read_text(encoding="utf-8")
    assert not re.findall(r"url\(\s*[\"']?(?!#)|@import|<script|<image", svg)


def test_a_model_said_it_and_a_tool_answered(draw: ModuleType) -> None:
    """Steps of a model carry the ids that it generated; a text written by hand would not."""
    steps = [step for round_ in draw.session().rounds for step in round_.steps]
    assert all(step.token_ids and step.raw for step in steps)
    assert any(step.calls and step.observations for step in steps)
    assert any(step.answer for step in steps)
