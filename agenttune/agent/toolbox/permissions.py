"""What a call does to the world, and who may say that it goes ahead."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeVar

from agenttune.errors import UserError, nearest
from agenttune.values.trajectory import JsonObject

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


class Effect(StrEnum):
    """What a call does: nothing but read, change something here, act outside this machine, or destroy what cannot be had again."""

    READ = "read"
    WRITE = "write"
    EXTERNAL = "external"
    DESTRUCTIVE = "destructive"

    @property
    def reads(self) -> bool:
        """Whether a call changes nothing: it needs no permission, and may run beside others."""
        return self is Effect.READ


STRENGTH = tuple(Effect)  # from harmless to harmful
_MEANING: Mapping[Effect, str] = {
    Effect.READ: "it only reads",
    Effect.WRITE: "it changes something on this machine",
    Effect.EXTERNAL: "it acts outside this machine",
    Effect.DESTRUCTIVE: "it can destroy what cannot be had again",
}
UNDECLARED = "it does not say what it does, so it is taken to change something"


def effect(name: str) -> Callable[[AnyFunction], AnyFunction]:
    """Says what a tool does; stands above it: ``@effect("read")``, ``"write"``, ``"external"`` or ``"destructive"``.

    The function itself stays as it is; it gets an attribute `effect`. Raises `UserError` for another word.
    """
    known = effect_named(name, "@effect")

    def mark(function: AnyFunction) -> AnyFunction:
        function.effect = known  # type: ignore[attr-defined]
        return function

    return mark


def effect_named(name: str, where: str) -> Effect:
    """The effect of that name. Raises `UserError` for another word."""
    if name not in set(Effect):
        raise UserError(f'{where}: there is no effect "{name}"{nearest(name, list(Effect))}; one of {", ".join(Effect)}')
    return Effect(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRequest:
    """A call that waits for a yes: its tool, its exact arguments, what it does, and why a person is asked."""

    tool: str
    arguments: JsonObject
    effect: Effect
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """The answer: whether the call may run, why (or why not), and for which calls it holds: this one, this tool's, or all."""

    allowed: bool
    because: str = ""
    remember: Literal["once", "tool", "session"] = "once"


Ask = Callable[[PermissionRequest], Permission]


def allowing(names: Collection[str], ask: Ask | None = None) -> Ask:
    """Says yes to the tools of `names` and passes every other question on; without `ask` it says no to them."""

    def answer(request: PermissionRequest) -> Permission:
        if request.tool in names:
            return Permission(allowed=True, because="allowed beforehand")
        return nobody(request) if ask is None else ask(request)

    return answer


def nobody(request: PermissionRequest) -> Permission:
    """The answer where there is no one to ask."""
    return Permission(allowed=False, because="there is nobody to ask here")


class Permissions:
    """Asks before whatever does more than read, and remembers what was said for a tool or for all of a session.

    What can destroy is asked about each time: no earlier yes holds for it.
    """

    def __init__(self, ask: Ask | None = None) -> None:
        self.ask: Ask = nobody if ask is None else ask
        self._said: dict[str, Permission] = {}

    def decide(self, tool: str, arguments: JsonObject, does: Effect, *, reason: str = "", afresh: bool = False) -> Permission:
        """Whether this call may run. `reason` replaces the usual sentence about why a person is asked.

        With `afresh` what was said before for the tool or the session does not count; what is said now is not remembered.
        """
        if does.reads and not reason:
            return Permission(allowed=True, because=_MEANING[does])
        each_time = afresh or does is Effect.DESTRUCTIVE
        known = None if each_time else self._said.get(tool) or self._said.get("")
        if known is not None:
            return known
        request = PermissionRequest(tool=tool, arguments=arguments, effect=does, reason=reason or _MEANING[does])
        answer = self.ask(request)
        if answer.remember != "once" and not each_time:
            self._said["" if answer.remember == "session" else tool] = answer
        return answer

    def forget(self) -> None:
        """From now on every effect is asked about again."""
        self._said.clear()
