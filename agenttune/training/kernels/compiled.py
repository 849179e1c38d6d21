"""C sources of this package, compiled by the user's own C compiler for the user's own CPU, and loaded.

It needs Linux, x86-64 and a compiler, which runs once a source and dtype, for some seconds; the result lies in the cache under a hash of
the source, the compiler and the CPU. Where something is missing, `why_not` says what, and PyTorch's functions do the work. `_LOADED` is
the process's table of loaded libraries: `load` fills it, `library` reads it, and an entry never changes.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from agenttune.files import cache_folder

FOLDER = Path(__file__).parent
SHARED = FOLDER / "vectors.h"
FLAGS = (
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-fopenmp",
    "-shared",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
)
NEEDS = {
    torch.bfloat16: ("amx_bf16", "amx_tile", "avx512_bf16", "avx512bw", "avx512dq", "avx512vl"),
    torch.float32: ("avx2", "fma"),
}
SECONDS = 120.0  # for the compiler
OFF = "AGENTTUNE_NO_COMPILER"  # an environment variable that, set to anything, keeps to PyTorch's own functions


@cache
def why_not(name: str, dtype: torch.dtype) -> str | None:
    """Why the functions of ``<name>.c`` cannot run here in a dtype, or None."""
    if dtype not in NEEDS:
        return f"it is not for {str(dtype).removeprefix('torch.')}"
    if os.environ.get(OFF):
        return f"{OFF} is set"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "it is for Linux on x86-64"
    if missing := [one for one in NEEDS[dtype] if one not in _flags()]:
        return f"this CPU has no {missing[0]}"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "there is no C compiler (cc)"
    return load(compiler, name, dtype)


def library(name: str, dtype: torch.dtype) -> ctypes.CDLL:
    """The loaded functions of ``<name>.c`` for a dtype, of which `why_not` said None."""
    return _LOADED[name, dtype]


def call_elementwise(name: str, function: str, *tensors: torch.Tensor) -> None:
    """Calls a function of ``<name>.c`` on tensors of one dtype and size, followed by their size and the number of threads."""
    assert all(one.numel() == tensors[0].numel() and one.dtype == tensors[0].dtype for one in tensors)
    getattr(library(name, tensors[0].dtype), function)(*pointers(*tensors), ctypes.c_int64(tensors[0].numel()), threads())


def pointers(*tensors: torch.Tensor) -> tuple[ctypes.c_void_p, ...]:
    """Where tensors begin in memory; each must be contiguous."""
    assert all(one.is_contiguous() for one in tensors)
    return tuple(ctypes.c_void_p(one.data_ptr()) for one in tensors)


def threads() -> ctypes.c_int32:
    """How many threads a function may use."""
    return ctypes.c_int32(torch.get_num_threads())


_LOADED: dict[tuple[str, torch.dtype], ctypes.CDLL] = {}


def load(compiler: str, name: str, dtype: torch.dtype) -> str | None:
    """Loads what is compiled of ``<name>.c``, now if it was not before; the reason where that fails."""
    try:
        found = ctypes.CDLL(str(_compile(compiler, FOLDER / f"{name}.c", dtype)))
    except (OSError, subprocess.SubprocessError) as error:
        return f"{Path(compiler).name} could not make it: {_last_line(error)}"
    if hasattr(found, "permission") and found.permission():
        return "the system does not let this process use the CPU's matrix tiles"
    _LOADED[name, dtype] = found
    return None


def _compile(compiler: str, source: Path, dtype: torch.dtype) -> Path:
    flags = (*FLAGS, *(("-DHALF",) if dtype == torch.bfloat16 else ()))
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=SECONDS).stdout
    parts = (source.read_bytes(), SHARED.read_bytes(), " ".join(flags).encode(), version, " ".join(sorted(_flags())).encode())
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    target = cache_folder() / "compiled" / f"{source.stem}-{key}.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as aside:
            made = Path(aside) / target.name
            subprocess.run(
                [compiler, *flags, str(source), "-o", str(made), "-lm"], capture_output=True, check=True, timeout=SECONDS, text=True
            )
            made.replace(target)
    return target


def _last_line(error: Exception) -> str:
    lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else type(error).__name__)


@cache
def _flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    line = next((one for one in text.splitlines() if one.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
