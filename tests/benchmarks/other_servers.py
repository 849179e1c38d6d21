"""Other OpenAI-compatible servers, each in an environment of its own: ``transformers serve`` and llama.cpp's (xllamacpp)."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.peers import environment
from tests.real_tokenizers import TRL, fetched

READY = 180.0  # seconds
LLAMA = """
import sys, time
import xllamacpp

asked = xllamacpp.CommonParams()
asked.model.path, asked.port, asked.use_jinja = sys.argv[1], int(sys.argv[2]), True
asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = int(sys.argv[3])
asked.n_parallel, asked.n_ctx, asked.n_gpu_layers = 2, 16384, 0
if len(sys.argv) > 4:
    asked.chat_template = open(sys.argv[4], encoding="utf-8").read()
server = xllamacpp.Server(asked)
print(server.listening_address, flush=True)
time.sleep(1e6)
"""


@contextlib.contextmanager
def transformers_serve(folder: Path, threads: int) -> Iterator[str | None]:
    """The address of transformers' own server with a model's folder, in float32; None where it cannot be installed."""
    python = environment("transformers-serve", ["fastapi==0.165.0", "openai==3.57.0"], above_ours=True)
    if python is None:
        yield None
        return
    port, main = free_port(), "from transformers.cli.transformers import main; main()"
    place = ["--port", str(port), "--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"]
    command = [python, "-c", main, "serve", str(folder), *place]
    with _running(command, port, threads):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def llama_serve(gguf: Path, threads: int) -> Iterator[str | None]:
    """The address of llama.cpp's server with a GGUF file; None where it cannot be installed.

    Its chat template is one that knows tools, where it can be had: under a template that does not, it ignores ``tools``.
    """
    python = environment("xllamacpp", ["xllamacpp==2026.10.11549"])
    if python is None:
        yield None
        return
    port = free_port()
    trl = fetched("trl")
    template = [str(trl / TRL / "qwen2_5.jinja")] if trl is not None else []
    with _running([python, "-c", LLAMA, str(gguf), str(port), str(threads), *template], port, threads):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _running(command: Sequence[str], port: int, threads: int) -> Iterator[None]:
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    environ.pop("PYTHONPATH", None)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ)
    try:
        end = time.monotonic() + READY
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < end, process.communicate(timeout=5)[1].decode()[-2000:]
            time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    try:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        line.request("GET", "/health")
        found = line.getresponse().status == 200
        line.close()
    except (OSError, http.client.HTTPException):
        return False
    return found


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        found: int = line.getsockname()[1]
    return found
