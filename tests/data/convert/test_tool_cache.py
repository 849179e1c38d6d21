"""What is made once for a tool list is never taken for another list's."""

from __future__ import annotations

from agenttune.data.convert.tool_cache import ToolCache
from agenttune.values.trajectory import ToolSpec


def test_it_is_made_once_for_the_same_tools_in_the_same_order() -> None:
    made: list[str] = []
    known: ToolCache[str] = ToolCache()

    def get(key: str, *tools: ToolSpec) -> str:
        def make() -> str:
            made.append(f"{key}:{','.join(tool.name for tool in tools)}")
            return made[-1]

        return known.get(tools, key, make)

    a, b = ToolSpec(name="a"), ToolSpec(name="b")
    assert [get("k", a, b), get("k", b, a), get("k", a, b), get("l", a, b), get("k")] == ["k:a,b", "k:b,a", "k:a,b", "l:a,b", "k:"]
    assert made == ["k:a,b", "k:b,a", "l:a,b", "k:"]


def test_tools_that_are_gone_do_not_lend_their_place_to_others() -> None:
    known: ToolCache[str] = ToolCache()
    for number in range(3000):  # without being kept, one tool would stand where the last one stood
        tools = [ToolSpec(name=f"t{number}")]
        assert known.get(tools, "", lambda tools=tools: tools[0].name) == f"t{number}"
