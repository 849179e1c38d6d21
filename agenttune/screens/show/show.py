"""``agenttune show``: one record of a file, whatever the file holds: samples, trajectories, rejects, or raw records."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

from agenttune import protocols
from agenttune.data.convert.options import read_systems
from agenttune.errors import Refusal, UserError
from agenttune.protocols.base import write
from agenttune.screens.blocks import block, note
from agenttune.screens.console import sheet, stdout
from agenttune.screens.show.records import Read, origin, read_record, record_at
from agenttune.screens.show.views import refusal_line, show_reject, show_sample, show_trajectory, tree
from agenttune.values.sample import Sample
from agenttune.values.tokens import Rendered
from agenttune.values.trajectory import Json, Trajectory

PROTOCOL = "react"  # what a trajectory is written in when its tokens are asked for
WIDE = 124  # columns from which before and after stand side by side


def show(
    file: str,
    *,
    index: int = 0,
    tokens: str | None = None,
    template: str = "auto",
    stats: bool = False,
    systems: str | None = None,
) -> int:
    """Prints one record, or with `stats` counts over the whole file. Returns 0.

    `tokens` names the model whose tokenizer cuts the record; `systems` is a JSON file of scenario → system text. Raises `UserError` for
    what is not there or cannot be read.
    """
    console = stdout()
    known = read_systems(systems)
    if stats:
        from agenttune.screens.show.stats import show_stats

        show_stats(console, file, tokens, template, known)
        return 0
    read = read_record(record_at(file, index), known)
    note(console, f"{file}, record {index}: {read.what}")
    if tokens is None:
        show_read(console, read)
    else:
        show_tokens_of(console, samples_of(read), tokens, template)
    return 0


def show_read(console: Console, read: Read) -> None:
    """A record as a person reads it; a raw one before and after its conversion, and so a sample whose raw record is still there."""
    if read.sample is not None:
        sample, raw = read.sample, origin(read.sample)
        if raw is None:
            show_sample(console, sample)
        else:
            _before_and_after(console, read_record(raw).raw, lambda one: show_sample(one, sample))
    elif read.kind == "reject":
        show_reject(console, read.raw)
    elif read.kind == "raw":
        _before_and_after(console, read.raw, lambda one: _after(one, read))
    elif read.trajectories:
        _after(console, read)
    else:
        block(console, "record", "\n".join(tree(read.raw)))
        for error in read.refusals:
            note(console, refusal_line(error), style="red")


def _before(console: Console, raw: Json) -> None:
    note(console, "before", style="bold underline")
    block(console, "record", "\n".join(tree(raw)))


def _after(console: Console, read: Read) -> None:
    for one in read.trajectories:
        show_trajectory(console, one)
    for error in read.refusals:
        note(console, refusal_line(error), style="red")


def _before_and_after(console: Console, raw: Json, view: Callable[[Console], None]) -> None:
    def after(one: Console) -> None:
        note(one, "after", style="bold underline")
        view(one)

    if console.is_terminal and console.width >= WIDE:
        side_by_side(console, lambda one: _before(one, raw), after)
        return
    _before(console, raw)
    note(console, "")
    after(console)


def side_by_side(console: Console, left: Callable[[Console], None], right: Callable[[Console], None]) -> None:
    """Two views in two columns of the same width."""
    width = (console.width - 3) // 2
    sides = [_drawn(console, width, view) for view in (left, right)]
    for one, other in zip_longest(*sides, fillvalue=Text()):
        line = one.copy()
        line.align("left", width)
        line.append(" │ ", style="dim")
        line.append_text(other)
        line.rstrip()
        console.print(line, soft_wrap=True)


def _drawn(console: Console, width: int, view: Callable[[Console], None]) -> list[Text]:
    """The lines of a view at another width. Its escapes are ours alone: what was shown in it is inert."""
    page = io.StringIO()
    view(sheet(console, page, width))
    return [Text.from_ansi(line) for line in page.getvalue().split("\n")[:-1]]


def samples_of(read: Read) -> list[Sample]:
    """The samples whose tokens can be shown. Raises `UserError` where a record gives none."""
    if read.sample is not None:
        return [read.sample]
    if not read.trajectories:
        why = read.refusals[0].sentence if read.refusals else read.what
        raise UserError(f"this record has no tokens to show: {why}")
    return [_written(one) for one in read.trajectories]


def _written(trajectory: Trajectory) -> Sample:
    try:
        return write(trajectory, protocols.get(PROTOCOL))
    except Refusal as error:
        raise UserError(f"this record cannot be written under {PROTOCOL}: {error.sentence}") from error


def show_tokens_of(console: Console, samples: Sequence[Sample], model: str, template: str) -> None:
    """Every token of the samples under a model's tokenizer and a template. Raises `UserError`."""
    from agenttune import models, templates
    from agenttune.data.render import render
    from agenttune.screens.show.sharing import line_of_packs
    from agenttune.screens.show.tokens import show_rendered, show_template

    tokenizer = models.load_tokenizer(model)
    form = templates.load(template, tokenizer)
    show_template(console, form, tokenizer)
    everything: list[Rendered] = []
    for sample in samples:
        how = f"protocol {sample.protocol}, template {form.name}, tokenizer {tokenizer.name}"
        note(console, f"{sample.id or '(no id)'}  {how}", style="bold")
        rendered = render(sample, form, tokenizer)
        everything += rendered
        if not rendered:
            note(console, "nothing in it is trained: no turn has an output")
        for number, one in enumerate(rendered, 1):
            if len(rendered) > 1:
                note(console, f"rendering {number} of {len(rendered)} (the template writes earlier turns otherwise than they were said)")
            show_rendered(console, one, tokenizer)
    if len(everything) > 1:
        note(console, line_of_packs(everything))
