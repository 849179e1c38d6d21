"""The whole walk on the embedded model and data: build, convert, train, evaluate base and adapter step by step and in conversations.

Each stage is keyed by a hash of what it is made from, the code of its rooms included; a second run reuses what is there.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from agenttune.config import DataFile, TrainConfig, config_to_json, load_config
from agenttune.errors import UserError
from agenttune.files import file_hash, shipped, write_text
from agenttune.screens.inert import inert

if TYPE_CHECKING:
    from agenttune.evaluation.live.report import LiveScore

MODEL = "smollm2-135m"
CONFIG = "smollm2_135m_lora_desk"
PARTS = {"desk": "msagent", "live": "trajectory"}  # the training files that are built, and the source that reads each
QUICK_TOKENS = 48  # of a reply; what twelve steps have taught rarely ends by itself
LIVE, QUICK_LIVE = 40, 4  # held-out conversations, in even shares of their kinds
SHOWN = ("compute", "facts", "sums")  # kinds of the conversation that is printed, the first of them that went right
DATA_ROOMS = ("values", "sources", "protocols", "agent", "models", "data", "desk")
TRAIN_ROOMS = ("values", "protocols", "templates", "data", "models", "training")
RAW = {"desk": "train.msagent.jsonl", "live": "train.live.jsonl"}
LIVE_ROOMS = ("desk", "evals/desk", "tools/")
EVAL_ROOMS = ("values", "protocols", "templates", "data", "models", "agent", "evaluation")


def demo(out: Path, *, quick: bool = False) -> int:
    """Runs every stage whose result is not there yet, prints the tables and a conversation, and says how to chat. Returns 0."""
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    raw, adapter = out / "data", out / "adapter"
    samples = {name: out / f"{name}.jsonl" for name in PARTS}
    config = demo_config(list(samples.values()), adapter, quick)
    requests = 96 if quick else 0
    _stage(out, "data", _code(*DATA_ROOMS, "evals/desk", "tools/"), [requests], raw, lambda: _build(raw, requests))
    for name, path in samples.items():
        lines = raw / RAW[name]
        _stage(out, f"convert-{name}", _code(*DATA_ROOMS), [file_hash(lines)], path, partial(_convert, PARTS[name], lines, path))
    parts = [*map(file_hash, samples.values()), config_to_json(config)]
    _stage(out, "train", _code(*TRAIN_ROOMS), parts, adapter, lambda: _train(config))
    runs = {"overlap": out / "overlap", "base": out / "base", "adapter": out / "tuned"}
    cases = 40 if quick else None
    made = {"overlap": "overlap", "base": "base", "adapter": [parts, _hashes(adapter)]}
    for name, run in runs.items():
        _stage(
            out, f"eval-{name}", _code(*EVAL_ROOMS, "evals/desk"), [cases, made[name]], run, partial(_evaluate, name, run, adapter, cases)
        )
    talks = {"base": out / "base-live", "adapter": out / "tuned-live"}
    held = QUICK_LIVE if quick else LIVE
    for name, run in talks.items():
        key = [held, made[name]]
        _stage(out, f"live-{name}", _code(*EVAL_ROOMS, *LIVE_ROOMS), key, run, partial(_converse, name, run, adapter, held, quick))
    _tell(runs, out)
    _tell_live(talks, out)
    print(f"\n{time.monotonic() - start:.0f} s in all. Everything is in {out}/: the tables, the plots, the adapter.")
    print(f"All held-out conversations:  {_command()} eval desk:live --model {MODEL} --adapter {adapter} -o {out}/live")
    print(f"Talk to it:  {_command()} chat {MODEL} --adapter {adapter}")
    return 0


def demo_config(samples: Sequence[Path], adapter: Path, quick: bool) -> TrainConfig:
    """The shipped config, on this folder's files; a few steps of it when quick."""
    files = tuple(DataFile(path=str(path)) for path in samples)
    config = replace(load_config(CONFIG), data=files, output=str(adapter))
    if quick:
        config = replace(config, trainer={**config.trainer, "max_steps": 12})
    return config


def _stage(out: Path, name: str, code: str, parts: Sequence[object], target: Path, make: Callable[[], None]) -> None:
    """Makes `target` unless it was made from the same code and parts before; one that was made otherwise is kept under another name.

    Raises `UserError` for a target that no stage of this folder made.
    """
    key = hashlib.sha256(json.dumps([code, *parts], sort_keys=True, default=str).encode()).hexdigest()
    stamp, started = out / f".{name}.key", out / f".{name}.started"
    if target.exists() and stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        print(f"== {name}: there already ({target})")
        return
    print(f"== {name}", flush=True)
    partial = target.is_dir() and started.is_file() and started.read_text(encoding="utf-8") == key
    if target.exists() and not partial:
        if not stamp.exists() and not started.exists():
            raise UserError(f"{target} is there and was not made by the demo; move it, or name another folder with -o")
        print(inert(f"   the earlier {target.name} is kept as {_set_aside(target)}"))
    stamp.unlink(missing_ok=True)
    write_text(started, key)
    start = time.monotonic()
    make()
    write_text(stamp, key)
    started.unlink()
    print(f"   {time.monotonic() - start:.0f} s", flush=True)


def _set_aside(target: Path) -> Path:
    """Renames a result of an earlier run to a free name: a person's own files may lie in it, so nothing is removed."""
    number = next(one for one in count(1) if not target.with_stem(f"{target.stem}-earlier-{one}").exists())
    return target.rename(target.with_stem(f"{target.stem}-earlier-{number}"))


def _code(*rooms: str) -> str:
    """A hash of the program and data files of some rooms, so that a changed program makes its results anew."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parent
    for room in rooms:
        name, _, inside = room.partition("/")
        folder = shipped(name) / inside if "/" in room else package / room
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in (".py", ".c", ".h", ".jsonl", ".yaml", ".txt"):
                digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def _hashes(folder: Path) -> list[str]:
    return [file_hash(path) for path in sorted(folder.glob("*.safetensors"))]


def _command() -> str:
    local = Path(sys.executable).parent / "agenttune"
    return str(local.relative_to(Path.cwd())) if local.is_relative_to(Path.cwd()) else "agenttune"


def _build(raw: Path, requests: int) -> None:
    from agenttune.desk.build import main as build

    build(["-o", str(raw), *(["--requests", str(requests)] if requests else [])])


def _convert(source: str, raw: Path, samples: Path) -> None:
    from agenttune.data.convert.options import ConvertOptions
    from agenttune.data.convert.run import convert
    from agenttune.screens.progress import convert_screen, convert_table

    with convert_screen() as events:
        options = ConvertOptions(overwrite=True, mask_failed=True)
        report = convert(source, [str(raw)], str(samples), options=options, events=events)
    convert_table(report)


def _train(config: TrainConfig) -> None:
    from agenttune.screens.progress import training_screen
    from agenttune.training.checkpoint import newest_complete
    from agenttune.training.train import train

    resume = newest_complete(Path(config.output)) is not None
    with training_screen() as events:
        if train(config, resume=resume, events=events).interrupted:
            raise KeyboardInterrupt


def _evaluate(name: str, run: Path, adapter: Path, cases: int | None) -> None:
    from agenttune.evaluation.options import EvalOptions
    from agenttune.evaluation.run import run_eval
    from agenttune.screens.progress import evaluation_screen
    from agenttune.screens.report.tables import save_report

    model = name if name == "overlap" else MODEL
    options = EvalOptions(suite="desk", model=model, adapter=str(adapter) if name == "adapter" else None, out=run, limit=cases)
    with evaluation_screen() as events:
        report = run_eval(options, events)
    save_report(report, run)


def _tell(runs: dict[str, Path], out: Path) -> None:
    from agenttune.evaluation.compare import compare
    from agenttune.screens.report.tables import save_comparison, show_comparison

    comparison = compare(runs["base"], runs["adapter"], baselines=[runs["overlap"]])
    show_comparison(comparison)
    save_comparison(comparison, out)
    print(inert(f"the table: {out}/comparison.md   the plots: {out}/comparison.png, {out}/adapter/loss.png"))


def _converse(name: str, run: Path, adapter: Path, cases: int, quick: bool) -> None:
    from agenttune.evaluation.live.run import MAX_NEW_TOKENS, run_live
    from agenttune.evaluation.options import EvalOptions
    from agenttune.screens.progress import evaluation_screen

    own = str(adapter) if name == "adapter" else None
    tokens = QUICK_TOKENS if quick else MAX_NEW_TOKENS
    options = EvalOptions(suite="desk:live", model=MODEL, adapter=own, out=run, limit=cases, max_new_tokens=tokens, overwrite=True)
    with evaluation_screen() as events:
        run_live(options, events)


def _tell_live(talks: dict[str, Path], out: Path) -> None:
    from agenttune.evaluation.live.report import read_report
    from agenttune.screens.blocks import note
    from agenttune.screens.console import stdout
    from agenttune.screens.report.live_table import show_live
    from agenttune.screens.show.views import show_round

    reports = {name: read_report(run) for name, run in talks.items()}
    shown = _shown(reports["adapter"].scores)
    note(stdout(), f"\none of the adapter's conversations, as it ran ({shown.case}, judged: {shown.reason})", style="bold")
    for one in shown.trajectory.rounds:
        show_round(stdout(), one)
    note(stdout(), f"\n{len(reports['adapter'].scores)} held-out conversations with live tools", style="bold")
    show_live(reports, out, kinds=False)


def _shown(scores: Sequence[LiveScore]) -> LiveScore:
    """The conversation that is printed, by a fixed rule: the first right one of the kinds in `SHOWN`, else the first of all."""
    ordered = sorted(scores, key=lambda one: one.case)
    right = [one for kind in SHOWN for one in ordered if one.right and one.tags["kind"] == kind]
    return (right or ordered)[0]
