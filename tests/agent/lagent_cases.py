"""lagent itself: its ReAct over our session, its actions as our tools. Run by test_lagent.py in an environment that has lagent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lagent
import pytest
from lagent.agents.react import CALL_PROTOCOL_CN, FORCE_STOP_PROMPT_CN

from agenttune import protocols, templates
from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.agent.events import AgentEvent, GuardActed, StepMade, StopReason, ToolAnswered, ToolCalled
from agenttune.agent.lagent_react import lagent_run
from agenttune.agent.toolbox import find, load
from agenttune.agent.toolbox import lagent as actions
from agenttune.agent.toolbox.permissions import Effect, Permission
from agenttune.errors import UserError
from agenttune.models.scripted import ScriptedModel
from agenttune.protocols import react_zh
from agenttune.values.trajectory import Malformed, ToolCall

CALL = 'Thought:算一下\nAction:calculator\nAction Input:{"expression": "6*7"}'
AGAIN = 'Thought:再算\nAction:calculator\nAction Input:{"expression": "42+1"}'
ANSWER = "Thought:知道了\nFinal Answer:结果是43"


class Talk:
    """A conversation with scripted replies, the prompts that the model was given, and the events."""

    def __init__(self, replies: Sequence[str], *, lagent: bool, max_steps: int = 4, system: str = "", tools: Sequence[str] = ()) -> None:
        self.prompts: list[str] = []
        self.events: list[AgentEvent] = []
        left = iter(replies)

        def reply(prompt: str) -> str:
            self.prompts.append(prompt)
            return next(left)

        model = ScriptedModel(reply)
        self.toolbox = find(tools or ["calculator", "local_search"], inline=True)
        agent = Agent(
            model=model,
            template=templates.load("auto", model.tokenizer, None),
            protocol=protocols.get("react_zh"),
            toolbox=self.toolbox,
            max_steps=max_steps,
            system=system,
            runner=lagent_run if lagent else None,
        )
        self.conversation = Conversation(agent)

    def ask(self, question: str) -> StopReason:
        return self.conversation.ask(question, self.events.append)

    @property
    def told(self) -> list[str]:
        return [one.sentence for one in self.events if isinstance(one, GuardActed)]

    @property
    def answer(self) -> str | None:
        return self.conversation.trajectory.rounds[-1].steps[-1].answer


def test_it_is_the_version_that_is_promised() -> None:
    assert lagent.__version__ == "0.2.4"


def test_our_protocol_text_is_lagents() -> None:
    assert react_zh.CALL_PROTOCOL_CN == CALL_PROTOCOL_CN


@pytest.mark.parametrize("system", ["", "你是{助手}。"])
def test_the_same_prompts_letter_for_letter(system: str) -> None:
    theirs, ours = (Talk([CALL, AGAIN, ANSWER], lagent=one, system=system) for one in (True, False))
    for talk in (theirs, ours):
        assert talk.ask("6*7再加1是多少？") == "answer"
        assert talk.answer == "结果是43"
    assert theirs.prompts == ours.prompts
    assert len(theirs.prompts) == 3
    assert "Response:42" in theirs.prompts[1]
    assert theirs.prompts[0].count(system) >= 1
    assert theirs.told == []
    kinds = [type(one) for one in theirs.events]
    assert kinds.count(StepMade) == 3
    assert kinds.count(ToolCalled) == kinds.count(ToolAnswered) == 2
    steps = [talk.conversation.trajectory.rounds[0].steps for talk in (theirs, ours)]
    assert [(one.calls, one.observations, one.answer, one.thought) for one in steps[0]] == [
        (one.calls, one.observations, one.answer, one.thought) for one in steps[1]
    ]


def test_lagent_drops_the_steps_of_earlier_questions() -> None:
    theirs, ours = (Talk([CALL, ANSWER, "Final Answer:再见"], lagent=one) for one in (True, False))
    for talk in (theirs, ours):
        talk.ask("6*7再加1是多少？")
        talk.ask("再见")
    assert theirs.prompts[:2] == ours.prompts[:2]
    assert "Response:42" in ours.prompts[2]
    assert "Response:42" not in theirs.prompts[2]
    assert theirs.prompts[2].count("结果是43") == 1
    assert theirs.answer == ours.answer == "再见"


def test_in_its_last_turn_it_asks_for_a_result() -> None:
    talk = Talk([CALL, AGAIN], lagent=True, max_steps=2)
    assert talk.ask("?") == "max_steps"
    assert FORCE_STOP_PROMPT_CN in talk.prompts[1]
    assert FORCE_STOP_PROMPT_CN not in talk.prompts[0]
    assert talk.told == ["lagent ends after 2 turns and says: Sorry that I cannot answer your question."]


INVENTED = f"{CALL}\nResponse:41\nThought:知道了\nFinal Answer:结果是41"
TWO = f"{CALL}\n{AGAIN}"  # lagent takes the last name and all the text from the first input on: no JSON; neither do we read it
LAST = f"Action:local_search\n{CALL}"


@pytest.mark.parametrize(
    ("reply", "told", "stop"),
    [
        (
            INVENTED,
            'lagent reads the answer "结果是41"; agenttune would read a call of calculator with {"expression": "6*7"}',
            "answer",
        ),
        (TWO, "", None),
        (LAST, 'lagent reads a call of calculator with {"expression": "6*7"}; agenttune would read nothing', None),
        (
            "Action:calculator\nAction Input:{'expression': '6*7'}",
            "lagent reads nothing (lagent reads no JSON after the action calculator); agenttune would read a call of calculator",
            None,
        ),
        ("FinalAnswer:1", "", None),
        ('Action:a.b.c\nAction Input:{"x": 1}', "lagent failed: ValueError: too many values to unpack", "malformed"),
    ],
)  # fmt: skip
def test_where_its_reading_differs_a_line_says_so(reply: str, told: str, stop: str | None) -> None:
    talk = Talk([reply, ANSWER], lagent=True)
    ended = talk.ask("6*7?")
    assert ended == (stop or "answer")
    if told:
        assert any(one.startswith(told) for one in talk.told), talk.told
    else:
        assert talk.told == []
    assert talk.conversation.trajectory.rounds[0].steps[0].raw == reply


def test_a_reply_that_is_none_is_answered_in_lagents_words() -> None:
    talk = Talk(["FinalAnswer:1", ANSWER], lagent=True)
    talk.ask("?")
    assert "Response:Please follow the format" in talk.prompts[1]
    step = talk.conversation.trajectory.rounds[0].steps[0]
    assert isinstance(step.calls[0], Malformed)
    assert step.weight == 0.0


def test_a_failure_of_a_tool_reaches_the_model() -> None:
    broken = CALL.replace("6*7", "1/0")
    theirs, ours = (Talk([broken, ANSWER], lagent=one) for one in (True, False))
    for talk in (theirs, ours):
        talk.ask("1/0?")
    assert theirs.prompts == ours.prompts
    assert "Response:Error: division by zero" in theirs.prompts[1]


def test_ctrl_c_ends_the_step_and_the_next_question_is_answered() -> None:
    talk = Talk([CALL, ANSWER, ANSWER], lagent=True)

    def interrupt(event: AgentEvent) -> None:
        if isinstance(event, ToolCalled):
            raise KeyboardInterrupt

    assert talk.conversation.ask("6*7?", interrupt) == "interrupted"
    assert len(talk.conversation.trajectory.rounds[0].steps) == 1
    assert talk.ask("noch einmal") == "answer"


def test_a_steered_run_ends_after_its_tool() -> None:
    talk = Talk([CALL, ANSWER], lagent=True)
    assert talk.conversation.ask("6*7?", steered=lambda: True) == "steered"
    assert len(talk.prompts) == 1


# Actions as tools

ARXIV = """
from types import SimpleNamespace

class Search:
    def __init__(self, query, max_results):
        self.query = query

    def results(self):
        when = SimpleNamespace(date=lambda: "2022-10-06")
        author = SimpleNamespace(name="S. Yao")
        yield SimpleNamespace(updated=when, title="ReAct: " + self.query, authors=[author], summary="Reason and act.")
"""


def test_an_action_is_a_tool_in_our_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "arxiv.py").write_text(ARXIV)
    monkeypatch.syspath_prepend(str(tmp_path))
    with find(["lagent:ArxivSearch"]) as toolbox:
        (spec,) = toolbox.specs
        assert spec.name == "ArxivSearch"
        assert spec.description == "Run Arxiv search and get the article meta information."
        assert spec.parameters["properties"] == {"query": {"type": "string", "description": "the content of search query"}}
        assert spec.parameters["required"] == ["query"]
        (seen,) = toolbox.run([ToolCall(name="ArxivSearch", arguments={"query": "agents"})], 60)
    assert not seen.error, seen.text
    assert not seen.trusted
    assert json.loads(seen.text)["content"] == "Published: 2022-10-06\nTitle: ReAct: agents\nAuthors: S. Yao\nSummary: Reason and act."


def test_the_installed_arxiv_has_what_lagent_calls() -> None:
    code = "import arxiv; print(hasattr(arxiv.Search, 'results'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "True"


def test_google_search_works_where_lagent_forgot_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    monkeypatch.setenv("SERPER_API_KEY", "key")
    told = {"organic": [{"title": "t", "link": "l", "snippet": "17 October 2023, Beijing"}]}

    class Answer:
        status_code = 200
        json = staticmethod(lambda: told)

    monkeypatch.setattr(requests, "post", lambda *where, **what: Answer())
    (tool,) = load("lagent:GoogleSearch")
    assert tool.call({"query": "forum"}) == "['17 October 2023, Beijing']"
    assert tool.effect is Effect.READ


def test_a_missing_key_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERPER_API_KEY", raising=False)
    with find(["lagent:GoogleScholar"], inline=True) as toolbox:
        (seen,) = toolbox.run([ToolCall(name=toolbox.specs[0].name, arguments={"query": "x"})])
    assert seen.error
    assert "Please set Serper API key" in seen.text


def test_interpreters_need_a_yes_each_time() -> None:
    code = "def solution():\n    return 6 * 7"
    call = ToolCall(name="PythonInterpreter", arguments={"command": code})
    with find(["lagent:PythonInterpreter"]) as toolbox:
        (seen,) = toolbox.run([call], 60)
        assert "needs a person's permission (destructive)" in seen.text
    asked: list[Any] = []
    answer: Callable[[Any], Permission] = lambda request: [asked.append(request), Permission(allowed=True, remember="session")][1]  # noqa: E731
    with find(["lagent:PythonInterpreter"], ask=answer) as toolbox:
        seen_twice = toolbox.run([call, call], 60)
    assert [one.text for one in seen_twice] == ["42", "42"]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lagent:ArxivSerach", 'lagent has no action "ArxivSerach" (did you mean "ArxivSearch"?)'),
        ("lagent:ArxivSearch.run", 'the action ArxivSearch of lagent has no "run"'),
        ("lagent:FinishAction", 'lagent has no action "FinishAction"'),
    ],
)
def test_actions_that_are_none(name: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        load(name)
    assert says in str(raised.value)


def test_every_action_is_described() -> None:
    named = {own: word for action in actions._known() for own, word in actions.words(action)}
    assert {"ArxivSearch", "GoogleSearch", "PythonInterpreter", "PPT_create_file"} <= set(named)
    for own, word in named.items():
        (tool,) = load(f"lagent:{word}")
        assert tool.spec.description, own
        assert ("Python" in own) == (tool.effect is Effect.DESTRUCTIVE), own


def test_the_command_line_of_the_seed(tmp_path: Path) -> None:
    """The embedded model is not tuned for it: what counts is that it runs, from the command line to the end of a run."""
    command = [sys.executable, "-m", "agenttune", "chat", "smollm2-135m", "--lagent", "--tools", "calculator"]
    limits = ["--max-steps", "2", "--max-new-tokens", "24", "-p", "6*7是多少？"]
    done = subprocess.run([*command, *limits], capture_output=True, text=True, timeout=500, check=False, env=dict(os.environ))
    assert done.returncode in (0, 3), done.stderr[-2000:]  # an answer, or the limit of steps
    assert "Traceback" not in done.stderr
    assert "lagent ends after 2 turns" in done.stderr or done.stdout.strip()
