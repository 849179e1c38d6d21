"""Length: no call is ever cut from its context; observations are elided first, then whole rounds dropped, then the sample is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.data.convert.options import ConvertOptions, read_systems
from agenttune.data.convert.run import convert
from agenttune.data.fit import elide, fit
from agenttune.data.render import render
from agenttune.errors import Refusal
from agenttune.models import load_tokenizer
from agenttune.protocols.base import write
from agenttune.training.token_cache import CachingTokenizer
from agenttune.values.sample import Sample, sample_from_json
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, ToolSpec, Trajectory
from tests.protocols.test_native import CALLING, with_template

REACT = protocols.get("react")


def long_sample(steps: int, words: int, protocol: str = "react") -> Sample:
    """A chain of calls, each answered by many words."""
    seen = Observation(text=" ".join(f"word{number}" for number in range(words)))
    made = [
        Step(thought=f"Step {number}.", calls=(ToolCall(name="look", arguments={"n": number}),), observations=(seen,))
        for number in range(steps)
    ]
    rounds = (Round(user="Look.", steps=(*made, Step(answer="Done."))),)
    return write(Trajectory(tools=(ToolSpec(name="look"),), rounds=rounds), protocols.get(protocol))


@pytest.fixture(name="tools")
def tokenizer_and_template(made_tokenizer: Callable[[str], Any]) -> tuple[Any, Any]:
    """A tokenizer made here, and its own template."""
    from agenttune.models.hf import wrap_tokenizer

    tokenizer = wrap_tokenizer(made_tokenizer("chatml"))
    return tokenizer, templates.load("auto", tokenizer)


def test_elide_keeps_both_ends_and_says_what_is_missing(tools: tuple[Any, Any]) -> None:
    tokenizer, _ = tools
    text = "".join(chr(ord("a") + number % 26) for number in range(400))
    short = elide(text, 20, tokenizer)
    head, rest = short.split(" [… ")
    count, tail = rest.split(" characters left out …] ")
    assert text.startswith(head) and text.endswith(tail)
    assert len(head) + int(count) + len(tail) == 400
    assert elide(text, 10_000, tokenizer) == text


def test_an_answer_is_never_trained_without_its_call(tools: tuple[Any, Any]) -> None:
    """A question, a call, what the tool said, the answer: five tokens too long, all of it is refused."""
    tokenizer, template = tools
    call = Step(calls=(ToolCall(name="rain", arguments={"town": "Kiel"}),), observations=(Observation(text="17.3 mm"),))
    rounds = (Round(user="How much rain fell in Kiel?", steps=(call, Step(answer="17.3 mm fell."))),)
    for protocol in ("react", "hermes"):
        sample = write(Trajectory(tools=(ToolSpec(name="rain"),), rounds=rounds), protocols.get(protocol))
        (whole,) = render(sample, template, tokenizer)
        with pytest.raises(Refusal, match="one round left"):
            fit(sample, template, tokenizer, len(whole.token_ids) - 5)


def rounds_of(number: int, *, steps: int = 2, words: int = 200, protocol: str = "react") -> Sample:
    """Rounds of calls, each answered by many words; the second call of a round asks for what the first one found."""
    made = []
    for index in range(number):
        first = Observation(text=f"code-{index}-x " + " ".join(f"word{word}" for word in range(words)))
        calls = [Step(calls=(ToolCall(name="look", arguments={"at": f"spot-{index}"}),), observations=(first,))]
        calls += [Step(calls=(ToolCall(name="open", arguments={"code": f"code-{index}-x"}),), observations=(Observation(text="ok"),))]
        made.append(Round(user=f"Look at spot-{index}.", steps=(*calls[:steps], Step(answer=f"Done {index}."))))
    return write(
        Trajectory(system="Be brief.", tools=(ToolSpec(name="look"), ToolSpec(name="open")), rounds=tuple(made)), protocols.get(protocol)
    )


BUDGETS = [(length, protocol) for length in (512, 1024, 2048, 4096, 8192) for protocol in protocols.PROTOCOLS]


@pytest.mark.parametrize(("length", "protocol"), BUDGETS)
def test_whole_rounds_are_dropped_and_the_rest_is_as_it_was(length: int, protocol: str, tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    sample = rounds_of(8, protocol=protocol)
    try:
        fitted = fit(sample, template, tokenizer, length)
    except Refusal:
        assert (length, protocol) in ((512, "react_zh"), (512, "hermes"), (512, "react"))  # the instructions alone are nearly that long
        return
    assert max(len(one.token_ids) for one in render(fitted.sample, template, tokenizer)) <= length
    dropped = fitted.changes.get("dropped_rounds", 0)
    outputs, kept = ([turn.output for turn in one.turns] for one in (sample, fitted.sample))
    assert kept == outputs[3 * dropped :]
    assert fitted.sample.turns[0].system == sample.turns[0].system
    assert fitted.sample.turns[0].input == f"Look at spot-{dropped}."
    assert "needs_dropped" not in fitted.changes


def test_observations_go_before_rounds_and_both_are_counted(tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    sample = rounds_of(6, words=300)
    full = max(len(one.token_ids) for one in render(sample, template, tokenizer))
    roomy = fit(sample, template, tokenizer, full - 1)
    assert roomy.changes == {"elided": 6}
    tight = fit(sample, template, tokenizer, 1024)
    dropped = tight.changes["dropped_rounds"]
    assert tight.changes == {"elided": 6 - dropped, "dropped_rounds": dropped} and 1 <= dropped <= 5
    assert tight.sample.meta["changes"] == tight.changes
    shown = [turn.system for turn in tight.sample.turns if "characters left out" in turn.system]
    assert len(shown) == 6 - dropped


def test_a_call_that_uses_what_was_dropped_is_counted(tools: tuple[Any, Any]) -> None:
    """Round 2 opens the code that only round 1 has seen; round 3 asks for what its own user names."""
    tokenizer, template = tools
    filler = " ".join(f"word{word}" for word in range(700))

    def round_of(user: str, name: str, arguments: dict[str, str], seen: str) -> Round:
        call = Step(calls=(ToolCall(name=name, arguments=arguments),), observations=(Observation(text=seen),))
        return Round(user=user, steps=(call, Step(answer="Done.")))

    rounds = (
        round_of(f"Find the code. {filler}", "find", {}, "the code is K7-4411"),
        round_of("Open it.", "open", {"code": "K7-4411"}, "ok"),
        round_of("Open K9-1200.", "open", {"code": "K9-1200"}, "ok"),
    )
    sample = write(Trajectory(tools=(ToolSpec(name="find"), ToolSpec(name="open")), rounds=rounds), REACT)
    assert fit(sample, template, tokenizer, 900).changes == {"dropped_rounds": 1, "needs_dropped": 1}


def test_an_observation_of_a_dropped_call_goes_with_it(tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    seen = Observation(text=" ".join(f"word{word}" for word in range(300)))
    unread = Step(calls=(ToolCall(name="look", arguments={}),), observations=(seen,))
    rounds = (Round(user="Look. " + "far " * 400, steps=(unread,)), Round(user="Never mind.", steps=(Step(answer="Fine."),)))
    fitted = fit(write(Trajectory(tools=(ToolSpec(name="look"),), rounds=rounds), REACT), template, tokenizer, 500)
    assert [(turn.input, turn.output) for turn in fitted.sample.turns] == [("Never mind.", "Final Answer: Fine.")]
    assert "Observation: word" not in fitted.sample.turns[0].system


@pytest.mark.parametrize("protocol", ["hermes", "native/hermes"])
def test_results_of_parallel_calls_are_elided_one_by_one(protocol: str, made_tokenizer: Callable[[str], Any]) -> None:
    template, tokenizer = with_template(made_tokenizer, CALLING)
    speaker = protocols.get(protocol)
    words = [" ".join(f"{town}{number}" for number in range(120)) for town in ("Bonn", "Kiel")]
    calls = tuple(ToolCall(name="look", arguments={"at": town}) for town in ("Bonn", "Kiel"))
    both = Step(calls=calls, observations=tuple(Observation(text=text) for text in words))
    rounds = (Round(user="Look.", steps=(both, Step(answer="Done."))),)
    sample = write(Trajectory(tools=(ToolSpec(name="look"),), rounds=rounds), speaker)
    fitted = fit(sample, template, tokenizer, 1200)
    assert fitted.changes == {"elided": 2}
    seen = fitted.sample.turns[1].system or fitted.sample.turns[1].input
    results = speaker.observations(seen, 2)
    assert [one.count("characters left out") for one in results] == [1, 1]
    for short, whole in zip(results, words, strict=True):
        head, _, rest = short.partition(" [… ")
        assert whole.startswith(head) and whole.endswith(rest.partition("…] ")[2])
    assert speaker.observation_text([Observation(text=one) for one in results]) == seen


def test_what_cannot_fit_is_refused(tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    with pytest.raises(Refusal, match="20 fit"):
        fit(long_sample(steps=1, words=10), template, tokenizer, 20)


def test_what_fits_is_untouched(tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    sample = long_sample(steps=1, words=3)
    assert fit(sample, template, tokenizer, 8192).sample is sample


def test_real_trajectories_fit_with_every_call_whole(data_dir: Path, smollm2: str, tmp_path: Path) -> None:
    tokenizer = CachingTokenizer(load_tokenizer(smollm2))
    template = templates.load("auto", tokenizer)
    source = data_dir / "react-gpt4"
    few = (source / "dev.jsonl").read_text(encoding="utf-8").splitlines()[::60]
    (tmp_path / "few.jsonl").write_text("\n".join(few) + "\n", encoding="utf-8")
    convert(
        "react",
        [str(tmp_path / "few.jsonl")],
        str(tmp_path / "out.jsonl"),
        options=ConvertOptions(systems=read_systems(str(source / "systems.json"))),
    )
    samples = [sample_from_json(json.loads(line)) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    fits = {length: sum(_fits(sample, template, tokenizer, length) for sample in samples) for length in (512, 1024, 2048, 4096, 8192)}
    assert list(fits.values()) == sorted(fits.values())
    assert fits[8192] == len(samples) == len(few)
    print(fits)
    assert 0 < fits[2048] < len(samples)


def _fits(sample: Sample, template: templates.Template, tokenizer: Tokenizer, length: int) -> bool:
    """Whether it fits; where it does, the calls left are the last ones of the sample, whole."""
    try:
        fitted = fit(sample, template, tokenizer, length)
    except Refusal as refusal:
        assert refusal.code == "too_long"
        return False
    assert max(len(one.token_ids) for one in render(fitted.sample, template, tokenizer)) <= length
    before, after = ([REACT.parse(turn.output).calls for turn in one.turns if turn.output] for one in (sample, fitted.sample))
    assert after == before[len(before) - len(after) :]
    return True
