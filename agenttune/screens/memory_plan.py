"""A memory plan as a table: what each device holds, item by item, for each way of sharding, and what fits."""

from __future__ import annotations

from rich import box
from rich.table import Table

from agenttune.screens.console import stdout
from agenttune.screens.inert import inert
from agenttune.training.memory.planning import GIB, MemoryEstimate, MemoryPlan
from agenttune.training.memory.published import PublishedFigure


def show_plan(name: str, plan: MemoryPlan) -> None:
    """Prints the memory estimates of a run side by side; sizes in GiB."""
    console = stdout()
    settings = plan.settings
    console.print(
        inert(
            f"{name}: {plan.shape.parameters / 1e9:.2f} billion parameters, {settings.method}, a pack of {settings.tokens:,} tokens, "
            f"{'16' if settings.half else '32'}-bit activations, {'GPU' if settings.gpu else 'CPU'}; GiB on each of {plan.gpus}"
        )
    )
    console.print(estimate_table(plan))
    if any(estimate.host for estimate in plan.estimates):
        console.print(offload_table(plan))
    for line in plan_notes(plan):
        console.print(line)


def estimate_table(plan: MemoryPlan) -> Table:
    """A row an item, a column a way of sharding; those with an item in the host's memory are in `offload_table`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("part")
    estimates = [estimate for estimate in plan.estimates if not estimate.host]
    for estimate in estimates:
        table.add_column(estimate.stage, justify="right")
    table.add_column("")
    for name, note in _names(estimates).items():
        table.add_row(name, *(_size(estimate, name) for estimate in estimates), note)
    table.add_section()
    table.add_row("in all", *(f"{estimate.total / GIB:.2f}" for estimate in estimates), "")
    toggled = "without checkpointing" if plan.settings.checkpointing else "with checkpointing"
    totals = [one for one, estimate in zip(plan.totals_toggled, plan.estimates, strict=True) if not estimate.host]
    table.add_row(toggled, *(f"{one / GIB:.2f}" for one in totals), "in all")
    if plan.memory is not None:
        table.add_row("largest pack", *(_largest(estimate) for estimate in estimates), f"tokens that fit into {plan.memory / GIB:g} GiB")
    return table


def offload_table(plan: MemoryPlan) -> Table:
    """A row an item; of each stage with offload what a GPU holds, and beside it what the host holds for that GPU."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("part")
    estimates = [estimate for estimate in plan.estimates if estimate.host]
    for estimate in estimates:
        table.add_column(estimate.stage, justify="right")
        table.add_column("its host", justify="right")
    for name in _names(estimates):
        table.add_row(name, *(_size(estimate, name, host=host) for estimate in estimates for host in (False, True)))
    table.add_section()
    totals = [one for estimate in estimates for one in (estimate.total, estimate.host)]
    table.add_row("in all", *(f"{one / GIB:.2f}" for one in totals))
    if plan.gpus > 1:
        table.add_row(f"of {plan.gpus} GPUs", *(f"{plan.gpus * one / GIB:.2f}" for one in totals))
    if plan.memory is not None:
        table.add_row("largest pack", *(one for estimate in estimates for one in (_largest(estimate), "")))
    return table


def _names(estimates: list[MemoryEstimate]) -> dict[str, str]:
    """The lines of these estimates, each with the first note that says something."""
    names: dict[str, str] = {}
    for estimate in estimates:
        for item in estimate.items:
            names[item.name] = names.get(item.name) or item.note
    names["context"] = names.pop("context")  # last, wherever it came
    return names


def _size(estimate: MemoryEstimate, name: str, *, host: bool = False) -> str:
    found = [item.size for item in estimate.items if item.name == name and item.host == host]
    return f"{found[0] / GIB:.2f}" if found else "–"


def _largest(estimate: MemoryEstimate) -> str:
    return f"{estimate.largest_pack:,}" if estimate.largest_pack else "none"


def plan_notes(plan: MemoryPlan) -> list[str]:
    """What the figures are, and are not."""
    if plan.settings.gpu:
        return ["Arithmetic from the model's shape. Its rules were measured on CPUs (make bench BENCH=plan); no GPU was measured."]
    return ["Arithmetic from the model's shape; three constants are fitted on CPU runs (make bench BENCH=plan)."]


def show_published(points: tuple[PublishedFigure, ...]) -> None:
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
