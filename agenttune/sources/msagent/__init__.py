"""MSAgent-Bench: the format, and the files that read its system value, its assistant value, and write it."""

from agenttune.sources.msagent.source import NAME, detect, read, write

__all__ = ["NAME", "detect", "read", "write"]
