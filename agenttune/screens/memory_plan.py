"""The bill of a run as a table: what each device holds, part by part, for each way of sharding, and what fits."""

from __future__ import annotations

from rich import box
from rich.table import Table

from agenttune.screens.console import stdout
from agenttune.screens.inert import inert
from agenttune.training.memory.planning import GIB, Bill, Planned
from agenttune.training.memory.published import Point


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
    if any(bill.host for bill in planned.bills):
        console.print(offload_table(planned))
    for line in plan_notes(planned):
        console.print(line)


def bill_table(planned: Planned) -> Table:
    """A row a part, a column a way of sharding; those with a part in the host's memory are in `offload_table`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("part")
    bills = [bill for bill in planned.bills if not bill.host]
    for bill in bills:
        table.add_column(bill.stage, justify="right")
    table.add_column("")
    for name, note in _names(bills).items():
        table.add_row(name, *(_size(bill, name) for bill in bills), note)
    table.add_section()
    table.add_row("in all", *(f"{bill.total / GIB:.2f}" for bill in bills), "")
    turned = "without checkpointing" if planned.run.checkpointing else "with checkpointing"
    table.add_row(turned, *(f"{one / GIB:.2f}" for one, bill in zip(planned.other, planned.bills, strict=True) if not bill.host), "in all")
    if planned.memory is not None:
        table.add_row("largest pack", *(_largest(bill) for bill in bills), f"tokens that fit into {planned.memory / GIB:g} GiB")
    return table


def offload_table(planned: Planned) -> Table:
    """A row a part; of each stage with offload what a GPU holds, and beside it what the host holds for that GPU."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("part")
    bills = [bill for bill in planned.bills if bill.host]
    for bill in bills:
        table.add_column(bill.stage, justify="right")
        table.add_column("its host", justify="right")
    for name in _names(bills):
        table.add_row(name, *(_size(bill, name, host=host) for bill in bills for host in (False, True)))
    table.add_section()
    table.add_row("in all", *(f"{one / GIB:.2f}" for bill in bills for one in (bill.total, bill.host)))
    if planned.gpus > 1:
        table.add_row(f"of {planned.gpus} GPUs", *(f"{planned.gpus * one / GIB:.2f}" for bill in bills for one in (bill.total, bill.host)))
    if planned.memory is not None:
        table.add_row("largest pack", *(one for bill in bills for one in (_largest(bill), "")))
    return table


def _names(bills: list[Bill]) -> dict[str, str]:
    """The lines of these bills, each with the first note that says something."""
    names: dict[str, str] = {}
    for bill in bills:
        for part in bill.parts:
            names[part.name] = names.get(part.name) or part.note
    names["context"] = names.pop("context")  # last, wherever it came
    return names


def _size(bill: Bill, name: str, *, host: bool = False) -> str:
    found = [part.size for part in bill.parts if part.name == name and part.host == host]
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
