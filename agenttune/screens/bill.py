"""The bill of a run as a table: what each device holds, part by part, for each way of sharding, and what fits."""

from __future__ import annotations

from rich import box
from rich.table import Table

from agenttune.screens.console import stdout
from agenttune.screens.inert import inert
from agenttune.training.bill import GIB, Bill, Planned
from agenttune.training.published import Point


def show_plan(name: str, planned: Planned) -> None:
    """Prints the bills of a run side by side; sizes in GiB."""
    console = stdout()
    run = planned.run
    console.print(
        inert(
            f"{name}: {planned.shape.parameters / 1e9:.2f} billion parameters, {run.method}, a pack of {run.tokens:,} tokens, "
            f"{'16' if run.half else '32'}-bit activations, {'GPU' if run.gpu else 'CPU'}; GiB on each of {planned.gpus}"
        )
    )
    console.print(bill_table(planned))
    for line in plan_notes(planned):
        console.print(line)


def bill_table(planned: Planned) -> Table:
    """A row a part, a column a way of sharding."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("part")
    for bill in planned.bills:
        table.add_column(bill.stage, justify="right")
    table.add_column("")
    names: dict[str, str] = {}
    for bill in planned.bills:
        for part in bill.parts:
            names[part.name] = names.get(part.name) or part.note
    names["context"] = names.pop("context")  # last, wherever it came
    for name, note in names.items():
        table.add_row(name, *(_size(bill, name) for bill in planned.bills), note)
    table.add_section()
    table.add_row("in all", *(f"{bill.total / GIB:.2f}" for bill in planned.bills), "")
    turned = "without checkpointing" if planned.run.checkpointing else "with checkpointing"
    table.add_row(turned, *(f"{one / GIB:.2f}" for one in planned.other), "in all")
    if planned.memory is not None:
        table.add_row("largest pack", *(_largest(bill) for bill in planned.bills), f"tokens that fit into {planned.memory / GIB:g} GiB")
    return table


def _size(bill: Bill, name: str) -> str:
    found = [part.size for part in bill.parts if part.name == name]
    return f"{found[0] / GIB:.2f}" if found else "–"


def _largest(bill: Bill) -> str:
    return f"{bill.largest:,}" if bill.largest else "none"


def plan_notes(planned: Planned) -> list[str]:
    """What the figures are, and are not."""
    if planned.run.gpu:
        return ["Arithmetic from the model's shape. Its rules were measured on CPUs (make bench BENCH=plan); no GPU was measured."]
    return ["Arithmetic from the model's shape; three constants are fitted on CPU runs (make bench BENCH=plan)."]


def show_published(points: tuple[Point, ...]) -> None:
    """Prints published figures beside the plan's, in GB, and under them the cause of each difference."""
    console = stdout()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("published, GB")
    for head in ("said", "planned", "difference"):
        table.add_column(head, justify="right")
    causes: dict[str, list[str]] = {}
    for one in points:
        table.add_row(one.what, f"{one.published:.0f}", f"{one.planned:.1f}", f"{100 * (one.planned / one.published - 1):+.0f} %")
        causes.setdefault(one.why, []).append(one.what)
    console.print(table)
    for why, names in causes.items():
        console.print(f"{', '.join(names)}: {why}.")
