"""``train`` and ``plan``: a training run, and the memory that it will need."""

from __future__ import annotations

import argparse
import os
import sys

from agenttune.cli.options import Commands
from agenttune.cli.sentences import sentence
from agenttune.errors import UserError


def add_train(commands: Commands) -> None:
    """The command ``train`` and its options."""
    one = commands.add_parser("train", help="tune a model on samples")
    one.add_argument("config", help="a YAML file or a shipped name (see: agenttune configs list)")
    one.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. data=out.jsonl lora.r=32 trainer.learning_rate=1e-4")
    one.add_argument("--resume", action="store_true", help="go on from the newest complete checkpoint")
    one.add_argument("--deepspeed", metavar="NAME", help="zero1, zero2, zero2_offload, zero3, zero3_offload, or a JSON file")
    one.set_defaults(command=_train, spins=True)


def _train(options: argparse.Namespace) -> int:
    from agenttune.config import load_config
    from agenttune.screens.progress import training_screen

    zero = [f"trainer.deepspeed={options.deepspeed}"] if options.deepspeed else []
    config = load_config(options.config, [*options.overrides, *zero])
    from agenttune.training.distributed.zero import in_process_group
    from agenttune.training.train import train

    try:
        with training_screen() as events:
            summary = train(config, resume=options.resume, events=events)
    except UserError as error:
        # A rank cannot part from others that are gone, and Python's own end, with the group alive, may be aborted by gloo's threads.
        if in_process_group():
            sentence(str(error))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(2)
        raise
    return 130 if summary.interrupted else 0


def add_plan(commands: Commands) -> None:
    """The command ``plan`` and its options."""
    one = commands.add_parser("plan", help="the memory a training run will need, before it runs")
    one.add_argument("config", help="a YAML file or a shipped name")
    one.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. pack_tokens=8192 lora.r=32 device=cpu")
    one.add_argument("--gpus", type=int, default=1, metavar="N", help="devices that share the run (default: 1)")
    one.add_argument("--gpu-memory", type=float, metavar="GIB", help="of each; the largest pack that fits is told")
    one.add_argument("--published", action="store_true", help="published figures beside the plan's")
    one.set_defaults(command=_plan)


def _plan(options: argparse.Namespace) -> int:
    from agenttune.config import load_config
    from agenttune.screens.memory_plan import show_plan, show_published
    from agenttune.training.memory.planning import GIB, plan_memory
    from agenttune.training.memory.published import published_figures

    if options.gpu_memory is not None and not 0 < options.gpu_memory < 1e6:
        raise UserError(f"--gpu-memory must be a number of GiB above 0, not {options.gpu_memory:g}")
    memory = None if options.gpu_memory is None else round(options.gpu_memory * GIB)
    plan = plan_memory(load_config(options.config, options.overrides), gpus=options.gpus, memory=memory)
    show_plan(options.config, plan)
    if options.published:
        show_published(published_figures())
    none = memory is not None and not any(one.largest_pack for one in plan.estimates)
    return 1 if none else 0
