"""Whatever does more than read waits for a yes, with its exact arguments; where nobody can be asked it does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest

from agenttune.agent.toolbox import READ_ONLY, Ask, Effect, Permission, PermissionRequest, Toolbox, effect, find, tool
from agenttune.agent.toolbox.permissions import allowing
from agenttune.errors import UserError
from agenttune.values.trajectory import Observation, ToolCall

ran: list[str] = []


@effect("write")
def keep(text: str) -> str:
    """Keeps a text."""
    ran.append(f"keep {text}")
    return "kept"


@effect("destructive")
def wipe(path: str) -> str:
    """Deletes a file."""
    ran.append(f"wipe {path}")
    return "gone"


@effect("external")
def mail(to: str) -> str:
    """Sends a mail."""
    ran.append(f"mail {to}")
    return "sent"


def look(name: str) -> Annotated[str, READ_ONLY]:
    """Looks."""
    return f"saw {name}"


def silent(name: str) -> str:
    """Says nothing of itself."""
    ran.append(f"silent {name}")
    return "done"


class Person:
    """Answers in the order given, and keeps what was asked."""

    def __init__(self, *answers: Permission) -> None:
        self.answers = list(answers)
        self.asked: list[PermissionRequest] = []

    def __call__(self, request: PermissionRequest) -> Permission:
        self.asked.append(request)
        return self.answers.pop(0)


YES = Permission(allowed=True)


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def box(ask: Ask | None = None) -> Toolbox:
    return Toolbox([tool(one) for one in (keep, wipe, mail, look)], inline=True, ask=ask)


def call(toolbox: Toolbox, name: str, /, **arguments: object) -> Observation:
    (seen,) = toolbox.run([ToolCall(name=name, arguments=arguments)])  # type: ignore[arg-type]
    return seen


def test_the_decorator_leaves_the_function_as_it_is() -> None:
    assert keep("a") == "kept"
    assert [tool(one).effect for one in (keep, wipe, mail, look, silent)] == ["write", "destructive", "external", "read", None]


def test_an_attribute_says_it_too() -> None:
    def own(name: str) -> str:
        """Sends."""
        return name

    own.effect = "external"  # type: ignore[attr-defined]
    assert tool(own).effect is Effect.EXTERNAL
    own.effect = "extern"  # type: ignore[attr-defined]
    with pytest.raises(UserError, match='own\\(\\): there is no effect "extern" \\(did you mean "external"'):
        tool(own)
    with pytest.raises(UserError, match="one of read, write, external, destructive"):
        effect("harmless")


def test_a_person_sees_the_exact_arguments_and_what_the_call_does() -> None:
    person = Person(YES, YES, YES)
    toolbox = box(person)
    assert call(toolbox, "wipe", path="/tmp/../etc/x").text == "gone"
    assert call(toolbox, "mail", to="a@b.example").text == "sent"
    assert call(toolbox, "look", name="x").text == "saw x"
    assert person.asked == [
        PermissionRequest(
            tool="wipe",
            arguments={"path": "/tmp/../etc/x"},
            effect=Effect.DESTRUCTIVE,
            reason="it can destroy what cannot be had again",
        ),
        PermissionRequest(tool="mail", arguments={"to": "a@b.example"}, effect=Effect.EXTERNAL, reason="it acts outside this machine"),
    ]
    assert ran == ["wipe /tmp/../etc/x", "mail a@b.example"]


def test_a_no_is_told_to_the_model_with_its_reason() -> None:
    toolbox = box(Person(Permission(allowed=False, because="the person said no: use the other file"), Permission(allowed=False)))
    told = "Error: wipe was not run: it needs a person's permission (destructive), and the person said no"
    assert call(toolbox, "wipe", path="a") == Observation(text=f"{told}: use the other file", error=True, provenance="user")
    assert call(toolbox, "wipe", path="a") == Observation(text=told, error=True, provenance="user")
    assert ran == []


def test_without_anybody_to_ask_it_is_refused() -> None:
    told = "Error: keep was not run: it needs a person's permission (write), and there is nobody to ask here"
    assert call(box(), "keep", text="a") == Observation(text=told, error=True, provenance="user")
    assert ran == []


def test_arguments_that_do_not_fit_are_not_asked_about() -> None:
    person = Person()
    assert call(box(person), "keep", words="a").error
    assert person.asked == []


@pytest.mark.parametrize(("remember", "asked"), [("once", ["keep", "keep", "mail"]), ("tool", ["keep", "mail"]), ("session", ["keep"])])
def test_an_answer_holds_for_as_long_as_it_was_said(remember: str, asked: list[str]) -> None:
    person = Person(*[Permission(allowed=True, remember=remember)] * 3)  # type: ignore[arg-type]
    toolbox = box(person)
    for name, arguments in (("keep", {"text": "a"}), ("keep", {"text": "b"}), ("mail", {"to": "c"})):
        assert not call(toolbox, name, **arguments).error
    assert [one.tool for one in person.asked] == asked
    assert ran == ["keep a", "keep b", "mail c"]
    toolbox.permissions.forget()
    person.answers = [Permission(allowed=False)]
    assert call(toolbox, "keep", text="d").error


def test_another_toolbox_remembers_nothing() -> None:
    first, second = Person(Permission(allowed=True, remember="session")), Person(Permission(allowed=False))
    assert not call(box(first), "keep", text="a").error
    assert call(box(second), "keep", text="a").error


def test_tools_may_be_allowed_beforehand_by_name() -> None:
    toolbox = box(allowing(["keep"]))
    assert call(toolbox, "keep", text="a").text == "kept"
    assert call(toolbox, "mail", to="b").error


def test_a_tool_that_says_nothing_of_itself_is_asked_about_in_a_worker(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text('def own(name: str) -> str:\n    """Says nothing of itself."""\n    return name\n', encoding="utf-8")
    person = Person(YES)
    with find([str(file)], ask=person) as toolbox:
        assert call(toolbox, "own", name="x").text == "x"
    assert [one.reason for one in person.asked] == ["it does not say what it does, so it is taken to change something"]
    assert call(Toolbox([tool(silent)], inline=True), "silent", name="x").text == "done"  # inline: taken at its word
