"""Raw dataset formats, one a file, found by name when asked for."""

from agenttune.sources.detection import detect, detect_among
from agenttune.sources.find import ENTRY_POINTS, SHIPPED, SourcePlugIn, get, get_target

__all__ = ["ENTRY_POINTS", "SHIPPED", "SourcePlugIn", "detect", "detect_among", "get", "get_target"]
