"""Tools: what a model may call, where their work runs, and how they are found."""

from agenttune.agent.toolbox.answers import ArgumentsError, ToolError
from agenttune.agent.toolbox.find import Listed, call_from_shell, find, left_out, listing, load, shipped_tools
from agenttune.agent.toolbox.permissions import Ask, Effect, Permission, PermissionRequest, effect
from agenttune.agent.toolbox.run import Toolbox
from agenttune.agent.toolbox.signatures.functions import POLLING, READ_ONLY, UNTRUSTED, Compare, Requires, Tool, tool

__all__ = [
    "POLLING",
    "READ_ONLY",
    "UNTRUSTED",
    "ArgumentsError",
    "Ask",
    "Compare",
    "Effect",
    "Listed",
    "Permission",
    "PermissionRequest",
    "Requires",
    "Tool",
    "ToolError",
    "Toolbox",
    "call_from_shell",
    "effect",
    "find",
    "left_out",
    "listing",
    "load",
    "shipped_tools",
    "tool",
]
