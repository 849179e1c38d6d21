"""ToolBench: the format, its search trees as paths, and where they are cut."""

from agenttune.sources.toolbench.source import NAME, detect, read

__all__ = ["NAME", "detect", "read"]
