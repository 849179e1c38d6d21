"""``convert`` and ``report``: records into samples, and the account of it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from agenttune.cli.options import Commands
from agenttune.cli.sentences import sentence
from agenttune.errors import UserError

if TYPE_CHECKING:
    from agenttune.models.token_length import TokenLength


def add_convert(commands: Commands) -> None:
    """The command ``convert`` and its options."""
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
        sentence(f"nothing in {', '.join(options.inputs)} could be used as {source}{first}; is it another format?")
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


def add_report(commands: Commands) -> None:
    """The command ``report`` and its options."""
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
