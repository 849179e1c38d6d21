"""lagent's Chinese ReAct: the text of its CALL_PROTOCOL_CN (lagent 0.1.2 to 0.2.4, `lagent/agents/react.py`, Apache-2.0; see NOTICE).

The tool list is a JSON object of name → description, the way XTuner's converter fills the placeholder, but as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from agenttune.protocols.react import ReactText
from agenttune.values.trajectory import ToolSpec

CALL_PROTOCOL_CN = """你是一个可以调用外部工具的助手，可以使用的工具包括：
{tool_description}
如果使用工具请遵循以下格式回复：
```
{thought}思考你当前步骤需要解决什么问题，是否需要使用工具
{action}工具名称，你的工具必须从 [{action_names}] 选择
{action_input}工具输入参数
```
工具返回按照以下格式回复：
```
{response}调用工具后的结果
```
如果你已经知道了答案，或者你不需要工具，请遵循以下格式回复
```
{thought}给出最终答案的思考过程
{finish}最终答案
```
开始!"""


def tool_text(tool: ToolSpec) -> str:
    """The description with its parameters: ``description\\n输入参数: {"name": "description"}``."""
    properties = tool.parameters.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return tool.description
    listed = {
        name: str(schema.get("description") or schema.get("type") or "") if isinstance(schema, Mapping) else ""
        for name, schema in properties.items()
    }
    return f"{tool.description}\n输入参数: {json.dumps(listed, ensure_ascii=False)}"


def _system(system: str, tools: Sequence[ToolSpec]) -> str:
    if not tools:
        return system
    described = {tool.name: tool_text(tool) for tool in tools}
    text = (
        CALL_PROTOCOL_CN.replace("{tool_description}", "\0")
        .replace("{action_names}", json.dumps(list(described), ensure_ascii=False))
        .replace("{thought}", "Thought:")
        .replace("{action}", "Action:")
        .replace("{action_input}", "Action Input:")
        .replace("{response}", "Response:")
        .replace("{finish}", "Final Answer:")
        .replace("\0", json.dumps(described, ensure_ascii=False))
    )
    return f"{system}\n\n{text}" if system else text


REACT_ZH = ReactText(name="react_zh", observation="Response:", gap="", end="\n", system=_system)
