"""Loading without the libraries' own progress bars and known notices."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

_CHATTY = ("bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops")


@contextlib.contextmanager
def no_library_messages() -> Iterator[None]:
    """Silences progress bars, and the warnings by which one library tells another that it will change; both as before afterwards."""
    from transformers.utils import logging as hf_logging

    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()


def mute_bitsandbytes() -> None:
    """bitsandbytes logs a warning for each product that it casts, and one for an optional kernel it has not."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)


def mute_deepspeed(device: str) -> None:
    """Before accelerate imports DeepSpeed, as it does wherever that is installed: it would say on standard output that it finds no GPU."""
    if device == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
