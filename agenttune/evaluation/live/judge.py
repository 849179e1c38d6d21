"""Whether a finished conversation is right: by its last answer, or by what the tools were left at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext

from agenttune.values.trajectory import Json, JsonObject, ToolCall, Trajectory

LONGEST = 240  # characters of an answer that is judged by what it holds: a page that holds everything answers nothing
_NUMBER = re.compile(r"-?\d+(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?")
_DECLINES = re.compile(
    r"\bno tool|\bnone of my tools|\bcan(?:no|['’])?t\b|\bcan not\b|\bunable\b|\bnot able\b|\b(?:don['’]t|do not) have\b"
    "|没有|不能|无法|抱歉|做不到",
    re.IGNORECASE,
)
Accepted = Sequence[Json]


def verdict(trajectory: Trajectory, how: str, accepted: Accepted, quiet: Sequence[int] = ()) -> str:
    """``ok``, or why the conversation is wrong.

    An answer that a guard asked for counts as any other. Why: what ended it in place of an answer (``loop``, ``malformed``, ``length``,
    ``context``, ``max_steps``); ``called`` where a round that asks for no call has one; ``declined`` where no tool was called and the
    answer says that none can; ``no call`` where the answer is wrong and nothing was called; ``long``; ``wrong``. `how` is a name of
    `HOWS`; `quiet` are rounds without calls.
    """
    if not answered(trajectory):
        return trajectory.stop
    last = trajectory.rounds[-1].steps
    answer = (last[-1].answer or "").strip()
    spoken = [*quiet, len(trajectory.rounds) - 1] if how in ("talk", "declines") else quiet
    if any(step.calls for number in spoken for step in trajectory.rounds[number].steps):
        return "called"
    if HOWS[how](answer, accepted, trajectory):
        return "long" if how in ("text", "number", "numbers") and len(answer) > LONGEST else "ok"
    if any(step.calls for step in last):
        return "wrong"
    return "declined" if _DECLINES.search(answer) else "no call"


def _holds_number(answer: str, accepted: Accepted, _: Trajectory) -> bool:
    said = numbers(answer)
    return any(same(one, Decimal(str(wanted))) for wanted in accepted for one in said)


def _holds_numbers(answer: str, accepted: Accepted, _: Trajectory) -> bool:
    said = numbers(answer)
    return all(any(same(one, Decimal(str(wanted))) for one in said) for wanted in accepted)


def _holds_text(answer: str, accepted: Accepted, _: Trajectory) -> bool:
    return any(_stands(str(wanted).casefold(), answer.casefold()) for wanted in accepted)


def _stands(wanted: str, answer: str) -> bool:
    """As whole words; a text without Latin letters or figures at its ends (Chinese, say) anywhere."""
    left, right = (r"\b" if re.match(r"[a-z0-9]", end) else "" for end in (wanted[0], wanted[-1]))
    return re.search(f"{left}{re.escape(wanted)}{right}", answer) is not None


def _talks(answer: str, _: Accepted, __: Trajectory) -> bool:
    return bool(answer) and not _DECLINES.search(answer)


def _declines(answer: str, _: Accepted, __: Trajectory) -> bool:
    return _DECLINES.search(answer) is not None


def _left_at(_: str, accepted: Accepted, trajectory: Trajectory) -> bool:
    """Every wanted change is the last one of its tool, and nothing else was changed."""
    changes = done(trajectory)
    wanted = {str(one["name"]): one["arguments"] for one in accepted if isinstance(one, Mapping)}
    return changes.keys() == wanted.keys() and all(_alike(changes[name], wanted[name]) for name in wanted)


def done(trajectory: Trajectory) -> dict[str, JsonObject]:
    """By a tool's name, the arguments of its last call that did not fail."""
    found: dict[str, JsonObject] = {}
    for step in (step for one in trajectory.rounds for step in one.steps):
        for call, seen in zip(step.calls, step.observations, strict=False):
            if isinstance(call, ToolCall) and not seen.error:
                found[call.name] = call.arguments
    return found


def _alike(seen: JsonObject, wanted: Json) -> bool:
    if not isinstance(wanted, Mapping) or seen.keys() != wanted.keys():
        return False
    return all(str(seen[name]).strip().casefold() == str(wanted[name]).strip().casefold() for name in wanted)


def numbers(text: str) -> list[Decimal]:
    """Every number of a text, commas between thousands left out."""
    return [Decimal(found.replace(",", "")) for found in _NUMBER.findall(text)]


def same(said: Decimal, wanted: Decimal) -> bool:
    """Equal, the sign aside (a text may call it "below zero"); or equal when rounded to the fewer decimals of the two, if that
    changes it by less than half a hundredth."""
    left, right = abs(said), abs(wanted)
    if left == right:
        return True
    if abs(left - right) * 200 > right:  # far away; a model may say numbers of any length, which must not be rounded
        return False
    places = min(_places(left), _places(right))
    with localcontext() as context:
        context.prec = len(left.as_tuple().digits) + len(right.as_tuple().digits) + 30
        return round(left, places) == round(right, places)


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def repeated(trajectory: Trajectory) -> int:
    """Calls that were made before in the same round, with the same arguments."""
    count = 0
    for one in trajectory.rounds:
        seen: list[tuple[str, JsonObject]] = []
        for call in (call for step in one.steps for call in step.calls if isinstance(call, ToolCall)):
            count += (call.name, call.arguments) in seen
            seen.append((call.name, call.arguments))
    return count


def answered(trajectory: Trajectory) -> bool:
    """Whether the last question got an answer, one that a guard asked for included."""
    steps = trajectory.rounds[-1].steps if trajectory.rounds else ()
    return trajectory.stop == "answer" or bool(steps and steps[-1].outcome == "forced")


HOWS: Mapping[str, Callable[[str, Accepted, Trajectory], bool]] = {
    "number": _holds_number,
    "numbers": _holds_numbers,
    "text": _holds_text,
    "talk": _talks,
    "declines": _declines,
    "state": _left_at,
}
