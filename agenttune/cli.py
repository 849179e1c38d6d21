"""The command line. It reads arguments, calls one verb, prints what it returns; libraries are imported when a verb needs them."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from agenttune import __version__
from agenttune.errors import UserError

if TYPE_CHECKING:
    from agenttune.models.token_length import TokenLength

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code.

    0 clean, 1 done with findings, 2 a person must change something, 3 below a threshold that was set, 70 a fault of agenttune, 130
    interrupted.
    """
    options = _options(arguments)
    command: Command = options.command
    _wait_politely(command)
    try:
        with _offline(options):
            return command(options)
    except UserError as error:
        _sentence(str(error))
        return 2
    except KeyboardInterrupt as interrupt:
        _sentence(str(interrupt) or "interrupted")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone; nothing is wrong here
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _sentence(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 2
    except Exception as error:  # nobody foresaw it: a person needs a sentence, and whoever mends it the whole story
        _sentence(_fault(error, list(arguments) if arguments is not None else sys.argv[1:]))
        return 70


# GNU OpenMP's turns of a waiting thread before it sleeps (libgomp, environment variable GOMP_SPINCOUNT; its own default is 300,000). 1,000
# are some 50 microseconds, longer than threads of one matrix product are apart; beside another program that computes, threads that spin
# take the cores from the one they wait for.
_SPINS = "1000"


def _wait_politely(command: Command) -> None:
    """Before torch is imported: threads that wait leave the core to others, unless the person said how. Training keeps its own."""
    if command not in (_train, _demo) and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; argparse would take ``key=value`` only where they all stand together."""
    options, rest = parser().parse_known_args(arguments)
    if rest and (not hasattr(options, "overrides") or any(one.startswith("-") for one in rest)):
        parser().error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.overrides += rest
    return options


@contextlib.contextmanager
def _offline(options: argparse.Namespace) -> Iterator[None]:
    """With --offline the tools of this command, whose processes read the environment, ask nobody."""
    if not getattr(options, "offline", False):
        yield
        return
    from agenttune.agent.toolbox.search.settings import OFFLINE

    before = os.environ.get(OFFLINE)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        del os.environ[OFFLINE]
        if before is not None:
            os.environ[OFFLINE] = before


def _offline_option(one: argparse.ArgumentParser) -> None:
    one.add_argument("--offline", action="store_true", help="tools ask nobody: searches answer from what was searched before")


def _fault(error: Exception, arguments: list[str]) -> str:
    """What to say of an error that is no person's, whose story is written into a file of its own."""
    import platform
    import tempfile
    import traceback

    from agenttune import __version__

    story = "".join(traceback.format_exception(error))
    said = f"this is a fault of agenttune ({type(error).__name__}: {str(error)[:200]})"
    head = f"agenttune {__version__}, Python {platform.python_version()}, {platform.platform()}\nagenttune {' '.join(arguments)}\n\n"
    try:
        handle, name = tempfile.mkstemp(prefix="agenttune-fault-", suffix=".log")
        with open(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(head + story)
    except OSError:
        return f"{said}; no log could be written: {story[-2000:]}"
    return f"{said}; the log lies at {name}: please send it to whoever maintains agenttune"


def _sentence(text: str) -> None:
    from agenttune.screens.inert import inert

    process = os.environ.get("RANK", "0")  # of a run with several; the first speaks for all
    who = "agenttune" if process == "0" else f"agenttune, process {process}"
    print(f"{who}: {inert(text)}", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="agenttune",
        description="Turn logs of tool use into a tuned agent, talk to it with live tools, and measure whether it got better.",
    )
    top.add_argument("--version", action="version", version=f"agenttune {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    made = (
        _add_convert,
        _add_report,
        _add_show,
        _add_train,
        _add_plan,
        _add_chat,
        _add_eval,
        _add_compare,
        _add_serve,
        _add_selftest,
        _add_tools,
        _add_configs,
        _add_demo,
    )
    for add in made:
        add(commands)
    return top


_Commands = argparse._SubParsersAction  # argparse has no public name for it


def _add_convert(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("convert", help="trajectories of any format into samples")
    one.add_argument("source", help="msagent, react, …, auto, ./my_source.py, or package.module")
    one.add_argument(
        "inputs", nargs="+", metavar="IN", help="files (.jsonl .json .parquet, also .gz .zst), folders, globs, - or hf:org/name"
    )
    one.add_argument("-o", "--out", metavar="OUT", help="the file to write; --check goes without")
    one.add_argument(
        "--protocol",
        default="react",
        help="of the samples: react (the default), react_zh, hermes, or native, the words that --model's own chat template writes",
    )
    one.add_argument("--to", default="sample", help="sample (default), trajectory, openai, sharegpt or msagent")
    one.add_argument(
        "--parallel", choices=["split", "reject"], default="split", help="parallel calls where the protocol has one call a step"
    )
    one.add_argument("--systems", metavar="FILE", help="JSON object of scenario → system text, for records that only name it")
    one.add_argument("--split", metavar="NAME=SHARE", help="a part by tool set, e.g. dev=5%%, written beside OUT")
    one.add_argument("--branches", choices=["all", "best"], default="all", help="of message trees: every path, or the best-ranked one")
    one.add_argument("--failed-branches", action="store_true", help="of solution trees: also the branches that failed")
    one.add_argument("--mask", choices=["failed"], help="weight 0 for calls that failed; they stay as context")
    one.add_argument("--compat", choices=["xtuner"], default="", help="of msagent: what XTuner v0.1.23 writes, byte for byte")
    one.add_argument("--model", metavar="MODEL", help="count lengths in this model's tokens, and find what is too long for it")
    one.add_argument("--template", default="auto", help="with --model: the chat template (default: auto, the tokenizer's own)")
    one.add_argument("--length", type=int, metavar="N", help="with --model: the tokens that fit (default: the model's context)")
    one.add_argument(
        "--shard",
        metavar="I/N",
        help="the I-th of N runs of the records, counted over all inputs in order: the outputs of 1/N to N/N, one after the other, "
        "are that of the whole; duplicates are seen inside a shard only (agenttune report adds the accounts up)",
    )
    one.add_argument(
        "--check",
        action="store_true",
        help="report only (to OUT.report.json and .html where -o is given), write no samples; also tells what of a record was read nowhere",
    )
    one.add_argument("--strict", action="store_true", help="warnings become rejects")
    one.add_argument(
        "--fix",
        action="store_true",
        help="named, counted repairs: relaxed JSON, values to their schema's type, the nearest declared tool, the tool list from the calls",
    )
    one.add_argument("--workers", type=int, default=0, help="processes (default: all cores)")
    one.add_argument("--overwrite", action="store_true", help="replace a file that is not this job's own")
    one.set_defaults(command=_convert)


def _convert(options: argparse.Namespace) -> int:
    from agenttune.data.convert.options import ConvertOptions, parse_shard, parse_split, read_systems
    from agenttune.data.convert.run import convert
    from agenttune.data.quality import repairs
    from agenttune.screens.progress import convert_screen, convert_table
    from agenttune.screens.report.page import save_page

    measured, length = _measure(options)
    chosen = ConvertOptions(
        protocol=_spoken(options),
        to=options.to,
        parallel=options.parallel,
        systems=read_systems(options.systems),
        split=parse_split(options.split),
        mask_failed=options.mask == "failed",
        strict=options.strict,
        fix=repairs.NAMES if options.fix else (),
        branches=options.branches,
        failed_branches=options.failed_branches,
        compat=options.compat,
        measure=measured,
        length=length,
        shard=parse_shard(options.shard),
        check=options.check,
        overwrite=options.overwrite,
        workers=options.workers or os.cpu_count() or 1,
    )
    with convert_screen() as events:
        report = convert(options.source, options.inputs, options.out, options=chosen, events=events)
    page = save_page(report)
    convert_table(report, page=page)
    if report.exit_code == 2:
        first = f" ({report.refusals[0].sentence})" if report.refusals else ""
        source = ", ".join(dict.fromkeys(one.source for one in report.sources)) or options.source
        _sentence(f"nothing in {', '.join(options.inputs)} could be used as {source}{first}; is it another format?")
    return report.exit_code


def _spoken(options: argparse.Namespace) -> str:
    """The protocol to write, which for ``native`` the model's template tells."""
    if not options.model:
        return str(options.protocol)
    from agenttune.models.token_length import spoken

    return spoken(options.protocol, options.model, options.template)


def _measure(options: argparse.Namespace) -> tuple[TokenLength | None, int]:
    """How lengths are counted, and how long is too long."""
    if not options.model:
        return None, options.length or 0
    from agenttune.models.token_length import context_of, token_length

    if options.length is not None and options.length < 1:
        raise UserError(f"--length must be 1 or more, not {options.length}")
    return token_length(options.model, options.template), options.length or context_of(options.model)


def _add_report(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("report", help="the account of a conversion, or of all shards of one added up")
    one.add_argument("reports", nargs="+", metavar="OUT", help="what convert wrote: OUT.jsonl or OUT.report.json, one a shard")
    one.add_argument("-o", "--out", metavar="WHOLE", help="write WHOLE.report.json and .html for this WHOLE.jsonl")
    one.add_argument("--overwrite", action="store_true", help="replace a report of something else")
    one.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    from agenttune.data.convert.merge import added, read_report, save_added
    from agenttune.screens.progress import convert_table
    from agenttune.screens.report.page import save_page

    report = added([read_report(name) for name in options.reports])
    page = None
    if options.out:
        report = save_added(report, options.out, overwrite=options.overwrite)
        page = save_page(report)
    convert_table(report, page=page)
    return report.exit_code


def _add_show(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("show", help="a record, sample or trajectory as a person reads it")
    one.add_argument("file")
    one.add_argument("--index", type=int, default=0, help="which record, from 0")
    one.add_argument("--tokens", metavar="MODEL", help="each token, trained ones marked")
    one.add_argument("--template", default="auto", help="with --tokens: the chat template")
    one.add_argument("--stats", action="store_true", help="counts over the whole file")
    one.add_argument("--systems", metavar="FILE", help="JSON object of scenario → system text, for records that only name it")
    one.set_defaults(command=_show)


def _show(options: argparse.Namespace) -> int:
    from agenttune.screens.show.show import show

    return show(
        options.file,
        index=options.index,
        tokens=options.tokens,
        template=options.template,
        stats=options.stats,
        systems=options.systems,
    )


def _add_train(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("train", help="tune a model on samples")
    one.add_argument("config", help="a YAML file or a shipped name (see: agenttune configs list)")
    one.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. data=out.jsonl lora.r=32 trainer.learning_rate=1e-4")
    one.add_argument("--resume", action="store_true", help="go on from the newest complete checkpoint")
    one.add_argument("--deepspeed", metavar="NAME", help="zero1, zero2, zero2_offload, zero3, zero3_offload, or a JSON file")
    one.set_defaults(command=_train)


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
            _sentence(str(error))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(2)
        raise
    return 130 if summary.interrupted else 0


def _add_plan(commands: _Commands[argparse.ArgumentParser]) -> None:
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


def _model_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("--adapter", metavar="DIR", help="an adapter folder")
    _loading_options(one)


def _loading_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    one.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    one.add_argument("--bits", type=int, choices=[4, 8], help="quantise the base with bitsandbytes")
    one.add_argument("--protocol", help="wire protocol (default: the adapter's card, else react)")
    one.add_argument("--template", help="chat template (default: the adapter's card, else auto)")


def _add_chat(commands: _Commands[argparse.ArgumentParser]) -> None:
    from agenttune.screens.chat.arguments import add_arguments

    one = commands.add_parser("chat", help="talk to a model with live tools")
    _model_options(one)
    add_arguments(one)
    _tool_options(one)
    _offline_option(one)
    one.set_defaults(command=_chat)


def _chat(options: argparse.Namespace) -> int:
    from agenttune.screens.chat.arguments import read_arguments
    from agenttune.screens.chat.start import chat

    asked = read_arguments(options)
    _trusted(asked.tools, options)
    return chat(asked)


def _add_eval(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("eval", help="tool-call accuracy on a suite or a file, or whole conversations with live tools (desk:live)")
    one.add_argument(
        "suite", help="desk, desk:dev, desk:live, bfcl:simple_python,multiple, msagent:FILE, tau:FILE, or a file of samples or trajectories"
    )
    one.add_argument("--model", default="", help="smollm2-135m, a folder, a .gguf file, a hub id; or chance, overlap")
    _model_options(one)
    one.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible server that has the model; $OPENAI_API_KEY is sent to it")
    one.add_argument("--workers", type=int, default=8, help="requests to the server at once (8)")
    one.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="the run's folder")
    one.add_argument("--limit", "--max-cases", type=int, metavar="N", help="so many of the cases, the same in every run")
    one.add_argument(
        "--sample", default="100%", metavar="SHARE", help="10%%: such a share of the cases of every kind, the same in every run"
    )
    one.add_argument(
        "--shots", type=int, default=0, metavar="N", help="worked examples before each prompt, for a model not tuned for the format"
    )
    one.add_argument("--max-new-tokens", type=int, help="of a reply (default: the suite's)")
    one.add_argument("--batch-size", type=int, default=128, help="cases decoded at once, at most (128)")
    one.add_argument(
        "--fail-under", action="append", default=[], metavar="METRIC=SHARE", help="exit with 3 if a metric is below, e.g. tool=0.8"
    )
    one.add_argument("--wide", action="store_true", help="the table of every slice too")
    one.add_argument("--overwrite", action="store_true", help="replace a run that was made otherwise")
    one.add_argument("--no-cache", action="store_true", help="ask the model again what it was asked in any earlier run, and keep nothing")
    one.add_argument("--ignore-card", action="store_true", help="allow another protocol or template than the adapter was trained with")
    free = "calls that can only fit their schema (default in desk:live), or as the model writes them (default in single steps)"
    one.add_argument("--constrain", action=argparse.BooleanOptionalAction, default=None, help=free)
    one.add_argument("--no-guards", dest="guards", action="store_false", help="desk:live: no limits that make the model answer, as in chat")
    one.add_argument("--no-repair", dest="repair", action="store_false", help="desk:live: read replies strictly, as in chat")
    one.set_defaults(command=_eval)


def _eval(options: argparse.Namespace) -> int:
    from agenttune.evaluation.live.cases import is_live
    from agenttune.evaluation.live.run import run_live
    from agenttune.evaluation.options import EvalOptions, share, threshold
    from agenttune.evaluation.run import below, run_eval
    from agenttune.screens.progress import evaluation_screen
    from agenttune.screens.report.live_table import show_live
    from agenttune.screens.report.tables import save_report, show_report

    given = {field.name: getattr(options, field.name) for field in fields(EvalOptions)}
    asked = EvalOptions(**{**given, "sample": share(options.sample), "fail_under": dict(map(threshold, options.fail_under))})
    if is_live(asked.suite):
        with evaluation_screen() as events:
            talks = run_live(asked, events)
        show_live({Path(asked.adapter).name if asked.adapter else asked.model: talks}, asked.out)
        return 0
    with evaluation_screen() as events:
        report = run_eval(asked, events)
    save_report(report, asked.out)
    show_report(report, wide=options.wide)
    failed = below(report, asked.fail_under)
    for sentence in failed:
        _sentence(sentence)
    return 3 if failed else 0


def _add_compare(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("compare", help="paired differences of runs over the same cases, each against the first")
    one.add_argument("run_a", metavar="RUN_A")
    one.add_argument("others", nargs="+", metavar="RUN_B", help="one or more runs to set against the first")
    one.add_argument("-o", "--out", metavar="DIR", help="also write the table and the plot there: comparison.md, comparison.png")
    one.add_argument("--wide", action="store_true", help="every metric in every slice")
    one.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from agenttune.evaluation.compare import compare_runs
    from agenttune.screens.report.tables import save_comparison, show_comparison

    found = compare_runs(Path(options.run_a), [Path(one) for one in options.others])
    for number, comparison in enumerate(found, 1):
        if options.out:
            save_comparison(comparison, Path(options.out) / str(number) if len(found) > 1 else Path(options.out))
        show_comparison(comparison, wide=options.wide)
    return 0


def _add_serve(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("serve", help="a model behind OpenAI's protocol, for everybody else's client")
    one.add_argument("model", help="smollm2-135m, a folder, a .gguf file, or a hub id")
    one.add_argument(
        "--adapter",
        metavar="NAME=DIR",
        action="append",
        default=[],
        help="an adapter and the name it is served under; repeatable",
    )
    _loading_options(one)
    one.add_argument("--host", default="127.0.0.1", help="the address to listen on; any but this machine's own needs --api-key")
    one.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    one.add_argument("--api-key", metavar="KEY", help="what clients must send (default: AGENTTUNE_API_KEY, which no process list shows)")
    one.add_argument("--batch", type=int, default=16, metavar="N", help="requests decoded at once, at most (16)")
    one.add_argument("--queue", type=int, default=64, metavar="N", help="requests that may wait; more are told 429 (64)")
    one.add_argument("--cache-mb", type=int, default=1024, metavar="MB", help="memory for what was read of earlier prompts (1024)")
    one.add_argument("--max-new-tokens", type=int, default=1024, help="tokens of one reply, at most")
    one.add_argument("--drain", type=float, default=10.0, metavar="SECONDS", help="what running requests are given at the end (10)")
    one.set_defaults(command=_serve)


def _serve(options: argparse.Namespace) -> int:
    from agenttune.serving.options import ServeOptions, needs

    needs()
    from agenttune.screens.console import stderr
    from agenttune.serving.server import serve

    console = stderr()
    asked = ServeOptions(
        model=options.model,
        adapters=tuple(options.adapter),
        host=options.host,
        port=options.port,
        api_key=options.api_key or os.environ.get("AGENTTUNE_API_KEY", ""),
        protocol=options.protocol,
        template=options.template,
        device=options.device,
        dtype=options.dtype,
        bits=options.bits,
        batch=options.batch,
        waiting=options.queue,
        cache_mb=options.cache_mb,
        max_new_tokens=options.max_new_tokens,
        drain=options.drain,
    )
    return serve(asked, on_event=lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))


def _add_selftest(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("selftest", help="are the scorers honest: models that know everything, nothing, or only noise, on suites")
    one.add_argument("suites", nargs="*", default=["desk:dev"], metavar="SUITE", help="as for eval (default: desk:dev)")
    one.set_defaults(command=_selftest)


def _selftest(options: argparse.Namespace) -> int:
    from agenttune.evaluation.selftest import selftest
    from agenttune.screens.report.selftest import show_selftest

    found = [selftest(name) for name in options.suites]
    for one in found:
        show_selftest(one)
    return 1 if any(one.faults for one in found) else 0


def _add_tools(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("tools", help="the plug-in tools")
    verbs = one.add_subparsers(metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="the shipped tools, or those of MCP servers")
    _tool_options(listed)
    listed.set_defaults(command=_tools_list)
    doctor = verbs.add_parser("doctor", help="whether tools load and servers answer, and what a model may misread in a signature")
    doctor.add_argument("names", nargs="*", metavar="NAME", help="as for chat --tools (default: all shipped ones)")
    _tool_options(doctor)
    doctor.set_defaults(command=_tools_doctor)
    call = verbs.add_parser("call", help="one call from the shell")
    call.add_argument("name")
    call.add_argument("arguments", metavar="JSON", nargs="?", default="{}")
    call.add_argument("--tool-seconds", type=float, default=30.0, metavar="S", help="what the call may take (30)")
    _tool_options(call)
    _offline_option(call)
    call.set_defaults(command=_tools_call)
    _add_tools_index(verbs)


def _tool_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("--mcp", type=Path, metavar="FILE", help="the tools of MCP servers too: a file with mcpServers")
    one.add_argument("--trust", action="store_true", help="trust the folders of the named files once and for all: their code is run")
    one.add_argument("--loopback", action="store_true", help="an API of openapi:FILE may be a server on this machine")


def _trusted(names: Sequence[str], options: argparse.Namespace) -> None:
    """Asks a person once about each folder whose code would be run."""
    from agenttune.agent.toolbox.trust import require_trust

    def ask(question: str) -> bool:
        from agenttune.screens.inert import inert

        print(inert(f"{question} [yes/no] "), end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    require_trust(names, options.mcp, trust=options.trust, ask=ask if terminal else None)


def _add_tools_index(verbs: _Commands[argparse.ArgumentParser]) -> None:
    index = verbs.add_parser("index", help="a search file of a folder of your own, for local_search:FILE")
    index.add_argument("folder", metavar="FOLDER", help="its Markdown, HTML, text and PDF files, at every depth")
    index.add_argument("-o", "--out", metavar="FILE", help="the search file (default: the folder's name with .sqlite, here)")
    index.add_argument("--overwrite", action="store_true", help="replace a file that is not this folder's search file")
    index.set_defaults(command=_tools_index)


def _tools_list(options: argparse.Namespace) -> int:
    from agenttune.agent.toolbox import listing
    from agenttune.screens.inert import inert

    _trusted([], options)
    for row in listing(options.mcp):
        print(inert(f"{row.name:14} {row.summary}" + (f"  [needs {row.needs}]" if row.needs else "")))
    return 0


def _tools_doctor(options: argparse.Namespace) -> int:
    from agenttune.agent.toolbox.doctor import check_tools
    from agenttune.screens.inert import inert

    _trusted(options.names, options)
    broken = 0
    for one in check_tools(options.names, options.mcp, loopback=options.loopback):
        broken += one.broken
        print(inert(f"{one.name:24} {'cannot be used' if one.broken else one.effect or '-'}"))
        for said in one.notes:
            print(inert(f"  {said}"))
    return 1 if broken else 0


def _tools_index(options: argparse.Namespace) -> int:
    from agenttune.agent.toolbox.folder_index import index_folder
    from agenttune.screens.inert import inert

    folder = Path(options.folder)
    target = Path(options.out or f"{folder.resolve().name}.sqlite")
    made = index_folder(folder, target, overwrite=options.overwrite)
    gone = f", {made.gone} gone" if made.gone else ""
    print(inert(f"{made.path}: passages: {made.passages}, files: {made.read + made.known} ({made.read} read, {made.known} known{gone})"))
    for name, why in made.failed:
        print(inert(f"not read: {name}: {why}"), file=sys.stderr)
    if made.others:
        print(inert("of other kinds: " + ", ".join(f"{count} {suffix}" for suffix, count in made.others.most_common())), file=sys.stderr)
    print(inert(f"agenttune chat MODEL --tools local_search:{made.path}"))
    return 1 if made.failed else 0


def _tools_call(options: argparse.Namespace) -> int:
    from agenttune.agent.toolbox import call_from_shell
    from agenttune.screens.inert import inert

    if not 0 < options.tool_seconds < float("inf"):
        raise UserError("--tool-seconds must be more than 0")
    _trusted([options.name], options)
    printed: list[str] = []
    seen = call_from_shell(
        options.name,
        options.arguments,
        options.tool_seconds,
        mcp=options.mcp,
        loopback=options.loopback,
        on_print=lambda _, text: printed.append(text),
    )
    if printed and printed != [seen.text]:
        print(inert(f"(printed) {printed[0]}"), file=sys.stderr)
    print(inert(seen.text), file=sys.stderr if seen.error else sys.stdout)
    return 1 if seen.error else 0


def _add_configs(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("configs", help="the shipped training configs")
    verbs = one.add_subparsers(metavar="VERB", required=True)
    verbs.add_parser("list", help="their names").set_defaults(command=_configs_list)
    show = verbs.add_parser("show", help="one of them")
    show.add_argument("name")
    show.set_defaults(command=_configs_show)
    copy = verbs.add_parser("copy", help="one of them into this folder")
    copy.add_argument("name")
    copy.set_defaults(command=_configs_copy)


def _configs_list(options: argparse.Namespace) -> int:
    from agenttune.files import shipped

    for path in sorted(shipped("configs").glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        print(f"{path.stem:36} {first.lstrip('# ')}")
    return 0


def _configs_show(options: argparse.Namespace) -> int:
    from agenttune.config import find_config

    print(find_config(options.name).read_text(encoding="utf-8"), end="")
    return 0


def _configs_copy(options: argparse.Namespace) -> int:
    from agenttune.config import find_config
    from agenttune.files import write_text

    source = find_config(options.name)
    target = Path(source.name)
    if target.exists():
        raise UserError(f"{target} exists already; remove it or go to another folder")
    write_text(target, source.read_text(encoding="utf-8"))
    print(target)
    return 0


def _add_demo(commands: _Commands[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("demo", help="the whole path on the embedded model and data")
    one.add_argument("--quick", action="store_true", help="a small part of it, in about three minutes")
    one.add_argument("-o", "--out", default=None, metavar="DIR", help="where everything goes (default: runs/demo or runs/demo-quick)")
    one.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from agenttune.demo import demo

    return demo(Path(options.out or ("runs/demo-quick" if options.quick else "runs/demo")), quick=options.quick)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
