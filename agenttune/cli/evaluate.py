"""``eval``, ``compare`` and ``selftest``: how good a model is, and how good the measure."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from agenttune.cli.options import Commands, model_options
from agenttune.cli.sentences import sentence


def add_eval(commands: Commands) -> None:
    """The command ``eval`` and its options."""
    one = commands.add_parser("eval", help="tool-call accuracy on a suite or a file, or whole conversations with live tools (desk:live)")
    one.add_argument(
        "suite", help="desk, desk:dev, desk:live, bfcl:simple_python,multiple, msagent:FILE, tau:FILE, or a file of samples or trajectories"
    )
    one.add_argument("--model", default="", help="smollm2-135m, a folder, a .gguf file, a hub id; or chance, overlap")
    model_options(one)
    one.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible server that has the model; $OPENAI_API_KEY is sent to it")
    one.add_argument("--workers", type=int, default=8, help="requests to the server at once (8)")
    one.add_argument("--price", metavar="READ,WRITTEN", help="what a million tokens cost there, e.g. 0.15,0.6: the run's cost is told")
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
    from agenttune.evaluation.options import EvalOptions, price, share, threshold
    from agenttune.evaluation.run import below, run_eval
    from agenttune.screens.progress import evaluation_screen
    from agenttune.screens.report.live_table import show_live
    from agenttune.screens.report.tables import save_report, show_report, show_usage

    given = {field.name: getattr(options, field.name) for field in fields(EvalOptions)}
    read = {"sample": share(options.sample), "price": price(options.price) if options.price is not None else None}
    asked = EvalOptions(**{**given, **read, "fail_under": dict(map(threshold, options.fail_under))})
    if is_live(asked.suite):
        with evaluation_screen() as events:
            talks = run_live(asked, events)
        show_live({Path(asked.adapter).name if asked.adapter else asked.model: talks}, asked.out)
        return 0
    with evaluation_screen() as events:
        report = run_eval(asked, events)
    save_report(report, asked.out)
    show_report(report, wide=options.wide)
    if asked.base_url is not None:
        show_usage(asked.out)
    failed = below(report, asked.fail_under)
    for said in failed:
        sentence(said)
    return 3 if failed else 0


def add_compare(commands: Commands) -> None:
    """The command ``compare`` and its options."""
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


def add_selftest(commands: Commands) -> None:
    """The command ``selftest`` and its options."""
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
