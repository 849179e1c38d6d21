"""Each token of a rendering, the trained ones marked: by colour, and by brackets where there is none."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agenttune.agent.stop import TextStream
from agenttune.screens.blocks import note
from agenttune.screens.console import line_width
from agenttune.screens.inert import inert
from agenttune.screens.word_wrap import cells
from agenttune.templates import Template, writes_date
from agenttune.values.sample import Turn
from agenttune.values.tokens import Rendered, Tokenizer

TRAINED = ("black on green", "black on bright_green")  # in turn, so that neighbours are told apart
CONTEXT = ("", "dim")
SPECIAL = "magenta"
BETWEEN = "¦"
PART = "‥"


def show_template(console: Console, template: Template, tokenizer: Tokenizer) -> None:
    """What the template decides: where tools' answers stand, BOS, the stop, what an output must begin with, and which reasoning stays."""
    bos = bos_of(template, tokenizer)
    facts = (
        f"observations as {template.observation_role}",
        f"BOS {visible(tokenizer.decode(bos)) if bos else 'none'}",
        f"stop {visible(template.stops[0])}",
        f"lead {visible(template.lead) if template.lead else 'none'}",
        f"earlier reasoning kept: {template.keeps_reasoning()}",
    )
    note(console, "; ".join(facts))
    if template.adds_bos is False and writes_date(tokenizer):
        note(console, "the template writes the day it is used on: pin it with template_options.date in a config")


def bos_of(template: Template, tokenizer: Tokenizer) -> list[int]:
    """The special token that stands before every conversation and opens no turn of it: put before it, or written by the template."""
    if template.adds_bos:
        return [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    header = template.pieces((Turn(input="Q"),))[0].text
    own = tokenizer.bos_token
    return tokenizer.encode(own, special=True) if own and header.startswith(own) else []


def show_rendered(console: Console, rendered: Rendered, tokenizer: Tokenizer) -> None:
    """The tokens, a legend, and how many of each kind are context and trained."""
    colour = console.color_system is not None
    for line in token_lines(rendered, tokenizer, line_width(console), colour=colour):
        console.print(line, soft_wrap=True)
    marks = "trained tokens are green" if colour else f"trained tokens stand in ⟦⟧, context tokens end in {BETWEEN}"
    note(console, f"{marks}; ⏎ is a line end, {PART} a part of the letter that follows")
    show_counts(console, [rendered])


def token_lines(rendered: Rendered, tokenizer: Tokenizer, width: int | None, *, colour: bool) -> list[Text]:
    """The tokens as lines of at most `width` columns; a token that ends a line of text ends the line here too."""
    lines = [Text()]
    column = 0
    letters = TextStream(tokenizer)
    for number, (token, weight) in enumerate(zip(rendered.token_ids, rendered.weights, strict=True)):
        text = visible(letters.push(token))
        style = TRAINED[number % 2] if weight else SPECIAL if token in tokenizer.special_ids else CONTEXT[number % 2]
        shown = text if colour else f"⟦{text}⟧" if weight else f"{text}{BETWEEN}"
        for letter in shown:
            if width is not None and column + cells(letter) > width:
                lines.append(Text())
                column = 0
            lines[-1].append(letter, style=style if colour else "")
            column += cells(letter)
        if text.endswith("⏎"):
            lines.append(Text())
            column = 0
    return lines if lines[-1] else lines[:-1]


def visible(text: str) -> str:
    """What a token completes, with line ends and tabs to be seen; one that completes nothing is a part of a letter."""
    return inert(text).replace("\n", "⏎").replace("\t", "⇥") or PART


def show_counts(console: Console, renderings: list[Rendered]) -> None:
    """A table of tokens by kind."""
    context: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    weight = 0.0
    for one in renderings:
        for kind, value in zip(one.kinds, one.weights, strict=True):
            (trained if value else context)[kind] += 1
            weight += value
    table = Table(box=None, pad_edge=False)
    for name in ("kind", "context", "trained"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind in dict.fromkeys(["system", "user", "header", "thought", "action", "arguments", "answer", "stop", *context, *trained]):
        if context[kind] or trained[kind]:
            table.add_row(kind, f"{context[kind]:,}", f"{trained[kind]:,}")
    table.add_row("all", f"{context.total():,}", f"{trained.total():,}", style="bold")
    console.print(table)
    if abs(weight - trained.total()) > 1e-6:
        note(console, f"the trained tokens weigh {weight:g} together")
