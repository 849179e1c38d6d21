"""``OUT.report.html``: a conversion's account as one page with pictures. It fetches nothing and runs nothing; text of the data is inert."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from agenttune.data.convert.report import ConvertReport, FileReport, summary_rows
from agenttune.data.convert.sizes import Sizes
from agenttune.data.convert.verdict import verdict
from agenttune.data.quality.finding import Finding
from agenttune.files import write_text
from agenttune.screens.report import pictures
from agenttune.screens.report.html import Html, element, joined

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --page: #fbfbf9; --card: #ffffff; --line: #d9dce1; --bar: #2f6f9f; --bad: #a8321f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #9aa5b4; --page: #15181d; --card: #1d2127; --line: #353c46; --bar: #6aaedb; --bad: #f08a76; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
p { margin: .3rem 0; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0 0; }
.sum { display: flex; flex-wrap: wrap; gap: .3rem 2.5rem; align-items: baseline; }
.sum b { font-size: 1.7rem; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 1rem; align-items: start; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.bar { fill: var(--bar); }
.grid { stroke: var(--line); }
.axis { stroke: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.found td:nth-child(1), .found td:nth-child(3) { min-width: 10rem; }
.found td:nth-child(2) { min-width: 5rem; }
.found td:nth-child(5) { min-width: 14rem; }
td { min-width: 3.5rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 8rem; overflow-y: auto; font-size: 12px; max-width: 40rem; }
"""  # noqa: E501
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode("utf-8")).digest()).decode("ascii")
_NOTHING = Html("")
# Nothing may be loaded or sent, and of styles only the one above applies (https://www.w3.org/TR/CSP3/).
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


def save_page(report: ConvertReport) -> Path | None:
    """Writes ``OUT.report.html`` beside the report it shows; None for a check without a name."""
    if not report.out:
        return None
    path = Path(report.out).with_suffix(".report.html")
    write_text(path, page(report))
    return path


def page(report: ConvertReport) -> str:
    """The whole page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", report.out or "check"),
        Html(f"<style>{_STYLE}</style>"),
    )
    body = element("body", _head(report), _pictures(report), _account(report), _files(report), *_examples(report))
    return f"<!doctype html>\n{element('html', head, body, lang='en').markup}\n"


def _head(report: ConvertReport) -> Html:
    how = f"{report.source} to {report.to}" + (f", protocol {report.protocol}" if report.protocol and report.to == "sample" else "")
    parts = [f"only checked: {how}" if report.checked_only else how, *_shards(report)]
    sums = [(report.records, "records in"), (report.samples, "samples out"), (report.rejects, "rejects")]
    if report.trajectories != report.records:
        sums.insert(1, (report.trajectories, "conversations in them"))
    shown = (element("span", _sum(count, bad=name == "rejects" and count > 0), f" {name}") for count, name in sums)
    notes = (element("p", one) for one in (*verdict(report), *report.notes))
    return joined([element("h1", report.out or "check"), element("p", "; ".join(parts)), *notes, element("section", *shown, class_="sum")])


def _sum(count: int, *, bad: bool) -> Html:
    return element("b", f"{count:,}", class_="bad") if bad else element("b", f"{count:,}")


def _shards(report: ConvertReport) -> list[str]:
    if report.shards:
        return [f"{len(report.shards)} shards added up: {', '.join(report.shards[:20])}{' …' if report.shards[20:] else ''}"]
    return [f"shard {report.shard}"] if report.shard else []


def _pictures(report: ConvertReport) -> Html:
    lengths = pictures.histogram(report.lengths, report.unit, "samples")
    steps = pictures.histogram(report.steps, "steps", "trajectories")
    drawn = [
        (f"{report.unit.capitalize()} per sample", lengths, _spread(report.lengths, report.unit)),
        ("Steps per trajectory", steps, _spread(report.steps, "steps")),
        (f"Calls per tool ({len(report.tools):,})", pictures.names(report.tools, "calls per tool"), _NOTHING),
        ("Why records were refused", pictures.names(report.reasons, "rejects by reason"), _NOTHING),
        ("What the doctor found", pictures.names(report.findings, "findings by code"), _NOTHING),
        ("What was changed", pictures.names(report.changes, "changes by name"), _NOTHING),
    ]
    cards = (element("section", element("h2", title), picture, below) for title, picture, below in drawn if picture)
    return element("div", *cards, class_="two")


def _spread(sizes: Sizes, unit: str) -> Html:
    if not sizes.count:
        return _NOTHING
    mean = sizes.sum / sizes.count
    half, most = sizes.below(0.5), sizes.below(0.95)
    said = f"{unit}: least {sizes.least:,}, mean {mean:,.1f}, half at most {half:,}, 95 % at most {most:,}, most {sizes.most:,}"
    return element("p", said)


def _account(report: ConvertReport) -> Html:
    rows = ([name.replace("  ", "\u2003"), f"{count:,}"] for name, count in summary_rows(report))
    return _section("The account", ["", "count"], rows, numbers={1})


def _files(report: ConvertReport) -> Html:
    named = [("read", one) for one in report.inputs] + [("written", one) for one in report.outputs]
    rows = ([what, one.name, f"{one.records:,}", _bytes(one), one.sha256[:16]] for what, one in named)
    took = ([one.file, one.source, one.reason] for one in report.sources)
    files = _section("Files", ["", "name", "records", "bytes", "SHA-256 begins"], rows, numbers={2, 3})
    return joined([files, _section("Sources that were detected", ["file", "source", "why"], took)])


def _bytes(one: FileReport) -> str:
    return f"{one.bytes:,}" if one.sha256 else ""


def _examples(report: ConvertReport) -> Iterable[Html]:
    for title, found in (
        ("Refused records, the first of each reason", report.refusals),
        ("Findings, the first of each code", report.examples),
    ):
        rows = (_finding(one) for one in sorted(found, key=lambda one: one.code))
        yield _section(title, ["code", "severity", "where", "id", "sentence", "text"], rows, kind="wide found")


def _finding(one: Finding) -> list[str | Html]:
    where = f"{one.file}:{one.line}" if one.file else ""
    return [one.code, one.severity, where, one.id, one.sentence, element("pre", one.excerpt)]


def _section(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str | Html]], numbers: Iterable[int] = (), kind: str = "wide"
) -> Html:
    """A table; nothing where there is no row."""
    right = set(numbers)
    body = [element("tr", *_cells(row, "td", right)) for row in rows]
    if not body:
        return _NOTHING
    return element("section", element("h2", title), element("table", element("tr", *_cells(head, "th", right)), *body), class_=kind)


def _cells(row: Sequence[str | Html], tag: str, right: set[int]) -> Iterator[Html]:
    for at, cell in enumerate(row):
        yield element(tag, cell, class_="number") if at in right else element(tag, cell)
