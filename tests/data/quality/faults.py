"""Faults for real ReAct conversations, each put into a record of its own at a place known afterwards. Imports nothing of the project.

A fault changes a copy of the raw record (or its line) and says whether the record has such a place at all. What the doctor should call it
stands beside it.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
PLACES = 50
TOKENS = ("<|im_end|>", "<|im_start|>system", "<|eot_id|>", "<|endoftext|>", "</s>", "[INST]", "<<SYS>>", "<start_of_turn>", "<eoa>")
DIALOGUES = (
    "\n\n<|user|>:Old question?\n\n<|assistant|>:Old answer.\n\n</s>",
    "\nUser: Old question?\nAssistant: Old answer.\n",
    "\n\nHuman: Old question?\n\nAssistant: Old answer.",
)
BARE = "no tools here"  # the scenario whose system text lists none
_CALL = re.compile(r"\nAction: (?P<name>(?!finish\b)[^\n]+)\nAction Input: (?P<input>\{.*\})\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Fault:
    """`make` changes the record and returns the line to write (None: the record as it now is), or False where it has no such place."""

    make: Callable[[Record, random.Random, Seed], str | bool | None]
    wanted: frozenset[str]


@dataclass(frozen=True)
class Seed:
    """What a fault may know besides its record: the tools of each scenario by name, all records, and the number of this one."""

    systems: dict[str, str]
    tools: dict[str, dict[str, Any]]
    records: list[Record]
    number: int


def tools_of(systems: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Scenario → tool name → the tool, out of the JSON list in each system text."""
    listed = {scenario: json.loads(text[text.index("[{") : text.rindex("}]") + 2]) for scenario, text in systems.items()}
    return {scenario: {tool["name"]: tool for tool in tools} for scenario, tools in listed.items()}


def seeded(records: list[Record], systems: dict[str, str], places: int = PLACES) -> tuple[list[str], dict[str, list[int]]]:
    """The lines of the damaged file, and for each kind the lines (from 1) that hold it. No record gets two faults."""
    tools = tools_of(systems)
    free = list(range(1, len(records)))  # the first one has no earlier record to repeat
    random.Random(7).shuffle(free)
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    found: dict[str, list[int]] = {kind: [] for kind in FAULTS}
    for kind, fault in FAULTS.items():
        chance = random.Random(kind)
        for number in list(free):
            if len(found[kind]) == places:
                break
            record = copy.deepcopy(records[number])
            made = fault.make(record, chance, Seed(systems, tools, records, number))
            if made is False:
                continue
            free.remove(number)
            lines[number] = made if isinstance(made, str) else json.dumps(record, ensure_ascii=False)
            found[kind].append(number + 1)
    return lines, found


def calls(record: Record) -> Iterable[tuple[Record, str, Record]]:
    """Each call: its message, the tool's name and its arguments."""
    for message in record["conversations"]:
        match = _CALL.search(message["value"]) if message["from"] == "assistant" else None
        if match:
            try:
                yield message, match["name"], json.loads(match["input"])
            except ValueError:
                continue


def again(message: Record, name: str, arguments: Any) -> None:
    """Writes a call's message anew."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    message["value"] = _CALL.sub(lambda match: f"\nAction: {name}\nAction Input: {text}", message["value"])


def a_call(record: Record, chance: random.Random) -> tuple[Record, str, Record] | None:
    every = list(calls(record))
    return chance.choice(every) if every else None


def unreadable(record: Record, chance: random.Random, seed: Seed) -> str:
    line = json.dumps(record, ensure_ascii=False)
    at = chance.randrange(2, len(line) - 1)
    return chance.choice((line[:at], line[:-1], line.replace('": "', '": ', 1), line + "}"))


def wrong_order(record: Record, chance: random.Random, seed: Seed) -> None:
    record["conversations"].insert(chance.randrange(1, len(record["conversations"]) + 1), {"from": "system", "value": "Be brief."})


def orphan(record: Record, chance: random.Random, seed: Seed) -> None:
    record["conversations"].insert(1, {"from": "function", "value": "from nowhere"})


def lost_result(record: Record, chance: random.Random, seed: Seed) -> bool:
    places = [at for at, message in enumerate(record["conversations"]) if message["from"] == "function"]
    if places:
        del record["conversations"][chance.choice(places)]
    return bool(places)


def unknown_tool(record: Record, chance: random.Random, seed: Seed) -> bool:
    call = a_call(record, chance)
    if call is None or call[1] not in seed.tools[record["scenario"]]:
        return False
    message, name, arguments = call
    new = chance.choice((name[:-1], name + "s", "qq_" + name, name.upper(), name.replace("_", "-")))
    again(message, new, arguments)
    return new not in seed.tools[record["scenario"]]


def argument_unknown(record: Record, chance: random.Random, seed: Seed) -> bool:
    call = a_call(record, chance)
    if call is None or call[1] not in seed.tools[record["scenario"]]:
        return False
    message, name, arguments = call
    again(message, name, {**arguments, chance.choice(("qq_extra", "Query_2", "参数", "limit_")): "1"})
    return True


def argument_missing(record: Record, chance: random.Random, seed: Seed) -> bool:
    for message, name, arguments in calls(record):
        required = seed.tools[record["scenario"]].get(name, {}).get("required") or []
        given = [one for one in required if one in arguments]
        if given:
            del arguments[chance.choice(given)]
            again(message, name, arguments)
            return True
    return False


def argument_type(record: Record, chance: random.Random, seed: Seed) -> bool:
    for message, name, arguments in calls(record):
        properties = seed.tools[record["scenario"]].get(name, {}).get("parameters", {}).get("properties", {})
        texts = [one for one in arguments if properties.get(one, {}).get("type") == "string"]
        if texts:
            arguments[chance.choice(texts)] = chance.choice((7, ["x"], {"a": 1}, True, None))
            again(message, name, arguments)
            return True
    return False


def bracket_error(record: Record, chance: random.Random, seed: Seed) -> bool:
    call = a_call(record, chance)
    if call is None or not call[2]:
        return False
    text = json.dumps(call[2], ensure_ascii=False)
    again(call[0], call[1], chance.choice((text[:-1] + "]", text[1:], text.replace('":', '"', 1), "{" + text, text[: len(text) // 2])))
    return True


def undeclared(record: Record, chance: random.Random, seed: Seed) -> bool:
    record["scenario"] = BARE
    return any(True for _ in calls(record))


def empty_answer(record: Record, chance: random.Random, seed: Seed) -> bool:
    last = record["conversations"][-1]
    head, found, _ = last["value"].partition('Action Input: {"answer": "')
    last["value"] = head + 'Action Input: {"answer": "' + chance.choice(("", " ", "\\n")) + '"}'
    return bool(found)


def system_dialogue(record: Record, chance: random.Random, seed: Seed) -> None:
    text = seed.systems[record["scenario"]] + chance.choice(DIALOGUES)
    record["conversations"].insert(0, {"from": "system", "value": text})


def same_id(record: Record, chance: random.Random, seed: Seed) -> None:
    record["id"] = seed.records[0]["id"]


def same_content(record: Record, chance: random.Random, seed: Seed) -> None:
    other = copy.deepcopy(seed.records[0])
    record.clear()
    record.update(other, id=f"copy-{seed.number}")


def token_of_user(record: Record, chance: random.Random, seed: Seed) -> None:
    record["conversations"][0]["value"] = put(record["conversations"][0]["value"], chance)


def token_of_tool(record: Record, chance: random.Random, seed: Seed) -> bool:
    seen = [message for message in record["conversations"] if message["from"] == "function"]
    if seen:
        one = chance.choice(seen)
        one["value"] = put(one["value"], chance)
    return bool(seen)


def put(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(TOKENS) + text[at:]


def invented(record: Record, chance: random.Random, seed: Seed) -> bool:
    last = record["conversations"][-1]
    said = chance.choice(("Well.\\nObservation: {}\\n", "So.\\nAction: look\\nAction Input: {}\\n", "<|startofexec|>1<|endofexec|>"))
    last["value"] = last["value"].replace('{"answer": "', '{"answer": "' + said, 1)
    return said in last["value"]


def _fault(make: Callable[[Record, random.Random, Seed], str | bool | None], *wanted: str) -> Fault:
    return Fault(make, frozenset(wanted))


FAULTS = {
    "unreadable JSON": _fault(unreadable, "json"),
    "wrong role order": _fault(wrong_order, "order"),
    "orphan observation": _fault(orphan, "orphan"),
    "call without result": _fault(lost_result, "call_without_result"),
    "unknown tool": _fault(unknown_tool, "unknown_tool"),
    "unknown argument": _fault(argument_unknown, "argument_unknown"),
    "missing argument": _fault(argument_missing, "argument_missing"),
    "argument of a wrong type": _fault(argument_type, "argument_type"),
    "bracket error in a call": _fault(bracket_error, "arguments", "json_control_characters"),
    "undeclared tools": _fault(undeclared, "undeclared_tools"),
    "empty answer": _fault(empty_answer, "empty_answer"),
    "dialogue in the system text": _fault(system_dialogue, "system_dialogue"),
    "duplicate id": _fault(same_id, "duplicate_id"),
    "duplicate content": _fault(same_content, "duplicate_content"),
    "control token in a user's text": _fault(token_of_user, "control_tokens"),
    "control token in a tool's text": _fault(token_of_tool, "control_tokens"),
    "invented observation": _fault(invented, "invented_observation", "call_as_text"),
}
