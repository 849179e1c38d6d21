"""Where a model runs, and in which dtype."""

from __future__ import annotations

import pytest

from agenttune.errors import UserError
from agenttune.models import device


def test_auto_measures_once_and_wants_a_clear_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for ratio, wanted in ((0.1, torch.float32), (1.4, torch.float32), (2.3, torch.bfloat16), (5.0, torch.bfloat16)):
        monkeypatch.setattr(device, "speed_ratio", lambda ratio=ratio: ratio)
        assert device.pick_dtype("auto", "cpu") == wanted


def test_the_measurement_is_short_and_sane() -> None:
    device.speed_ratio.cache_clear()
    ratio = device.speed_ratio()
    assert 0.005 < ratio < 200
    assert device.speed_ratio() == ratio
    assert device.speed_ratio.cache_info().misses == 1


def test_named_ones_are_taken_as_they_are() -> None:
    import torch

    assert device.pick_device("cpu") == "cpu"
    assert device.pick_dtype("float16", "cpu") == torch.float16
    assert device.pick_dtype("auto", "mps") == torch.float32


def test_what_is_not_there_is_said() -> None:
    import torch

    with pytest.raises(UserError, match=r'"cpuu" \(did you mean "cpu"\?\)'):
        device.pick_device("cpuu")
    with pytest.raises(UserError, match="float31"):
        device.pick_dtype("float31", "cpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="no mps device"):
            device.pick_device("mps")
