"""ReAct texts in their many layouts: the format, and a file a layout."""

from agenttune.sources.react.source import NAME, detect, read

__all__ = ["NAME", "detect", "read"]
