"""The prefix cache is right after whatever a person does: undo, retry, another question, another tool set; and after none of it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import pytest

from agenttune import protocols, templates
from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.agent.decode import Session, decode
from agenttune.agent.step import STRICT
from agenttune.agent.toolbox import READ_ONLY, Toolbox, tool
from agenttune.data.render import prompt_ids
from agenttune.models.hf import HFModel
from agenttune.models.scripted import ScriptedModel
from agenttune.protocols.base import write
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Round, Trajectory

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "mistral")
CASES = 1000 if os.environ.get("AGENTTUNE_PROVE") else 50
Tiny = Callable[..., HFModel]


def changed(draw: random.Random, prompt: list[int], said: list[int]) -> list[int]:
    """The next prompt: longer by what was said and more, or taken back, or edited at its end, or with another beginning, or the same."""
    new = [draw.randrange(10, 300) for _ in range(draw.randrange(1, 12))]
    return draw.choice(
        [
            [*prompt, *said, *new],
            [*prompt, *said, *new],
            prompt[: draw.randrange(1, len(prompt) + 1)],
            [*prompt[: draw.randrange(len(prompt))], *new],
            [*new, *prompt[min(len(prompt), 5) :]],
            prompt,
        ]
    )[:180]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_float64_says_the_same_with_and_without_a_cache(tiny: Tiny, kind: str) -> None:
    model, draw = tiny(kind), random.Random(kind)
    read = written = 0
    for number in range(CASES // len(ARCHITECTURES)):
        session = Session(model)
        prompt = [draw.randrange(10, 300) for _ in range(draw.randrange(1, 40))]
        for turn in range(4):
            sampling = SamplingParams(max_new_tokens=draw.randrange(1, 9), temperature=float(draw.randrange(2)), seed=draw.randrange(99))
            (kept,) = decode(model, [prompt], sampling, sessions=[session])
            (fresh,) = decode(model, [prompt], sampling)
            assert kept.token_ids == fresh.token_ids, (kind, number, turn)
            assert fresh.prefilled_tokens == len(prompt) >= kept.prefilled_tokens >= 1
            read, written = read + kept.prefilled_tokens, written + len(prompt)
            prompt = changed(draw, prompt, list(kept.token_ids))
    print(f"{kind}: {CASES // len(ARCHITECTURES)} cases of 4 turns the same; {read} of {written} prompt tokens read")
    assert read < 0.75 * written


def look(name: str) -> Annotated[str, READ_ONLY]:
    """Looks something up."""
    return name


def seek(what: str) -> Annotated[str, READ_ONLY]:
    """Seeks."""
    return what


def talking(model: HFModel) -> Conversation:
    """A conversation with a tiny model, which says anything: its replies are cut after a few tokens."""
    return Conversation(
        Agent(
            model=model,
            template=templates.load("auto", model.tokenizer),
            protocol=protocols.get("react"),
            toolbox=Toolbox([tool(look)], inline=True),
            sampling=SamplingParams(max_new_tokens=3),
            max_steps=1,
            options=STRICT,
            guards=None,
        )
    )


def afresh(old: Conversation, question: str) -> tuple[int, ...]:
    """What is said to `question` in the same conversation without a cache."""
    new = Conversation(old.agent)
    new.trajectory, new.sampling = old.trajectory, old.sampling
    new.ask(question)
    return new.trajectory.rounds[-1].steps[-1].token_ids


@pytest.mark.parametrize("kind", ["llama", "mistral", "lfm2"])
def test_after_undo_retry_an_edit_and_another_tool_set(tiny: Tiny, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(kind)
    monkeypatch.setattr(model, "context", 1 << 20)
    conversation = talking(model)

    def asked(question: str) -> tuple[int, int]:
        wanted = afresh(conversation, question)
        conversation.ask(question)
        assert conversation.trajectory.rounds[-1].steps[-1].token_ids == wanted
        return conversation.last.prompt, conversation.last.read

    def after_undo(question: str) -> tuple[int, int]:
        assert conversation.undo() is not None
        return asked(question)

    cuts = kind == "llama"  # a window that has moved and a state that was summed up cannot go back: all is read again, and counted
    first, read = asked("one")
    assert read == first
    second, read = asked("two")
    assert read == second - first - 2 if kind != "lfm2" else read == second  # the last of three tokens was not read yet
    edited, read = after_undo("twice")
    assert read < edited / 4 if cuts else read == edited
    question = conversation.retry()
    assert question == "twice"
    conversation.sampling = replace(conversation.sampling, temperature=1.0)
    again, read = asked(question)
    assert read == 1 if cuts else read == again
    conversation.agent = replace(conversation.agent, toolbox=Toolbox([tool(seek)], inline=True))
    conversation.trajectory = replace(conversation.trajectory, tools=conversation.agent.toolbox.specs)
    other, read = asked("three")
    assert edited / 2 < read < other if cuts else read == other


def many(number: int) -> Annotated[str, READ_ONLY]:
    """Answers in 350 letters."""
    return f"{number:350d}"


@pytest.mark.parametrize(("steps", "least"), [(6, 3.5), (12, 5.0)])
def test_an_episode_reads_exactly_what_is_new(steps: int, least: float) -> None:
    """A prompt of 740 tokens and results of 350, as a handful of tools have; the scripted model's tokens are bytes."""
    calls = [f'Thought: ok\nAction: many\nAction Input: {{"number": {number}}}' for number in range(steps - 1)]
    model = ScriptedModel([*calls, "Final Answer: done"])
    toolbox = Toolbox([tool(many)], inline=True)
    template = templates.load("auto", model.tokenizer)
    agent = Agent(model=model, template=template, protocol=protocols.get("react"), toolbox=toolbox, max_steps=steps + 1, options=STRICT)
    conversation = Conversation(agent)
    conversation.set_system("You help." + " " * (740 - first_prompt(agent)))
    assert conversation.ask("q") == "answer"
    before = conversation.trajectory.rounds[0].steps[:-1]
    assert len(before) == steps - 1
    lead = sum(map(len, ("|\n", "|system\n", "Observation: ", "|\n", "|assistant\n")))  # each bar is a control token; the call was read
    new = [350 + lead for _ in before]
    assert conversation.last.read == 740 + sum(new)
    again = sum(740 + sum(len(step.token_ids) + one for step, one in zip(before[:at], new, strict=False)) for at in range(steps))
    assert conversation.last.prompt == again
    print(
        f"{steps} steps: {conversation.last.read} tokens read, {again} without the cache: {again / conversation.last.read:.2f} times less"
    )
    assert again >= least * conversation.last.read


def first_prompt(agent: Agent) -> int:
    """Tokens of the first prompt under the system text "You help."."""
    question = Trajectory(system="You help.", tools=agent.toolbox.specs, rounds=(Round(user="q"),))
    return len(prompt_ids(write(question, agent.protocol), agent.template, agent.model.tokenizer))
