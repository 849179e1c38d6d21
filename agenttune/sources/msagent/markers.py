"""The marks by which an MSAgent-Bench record is known: around a call, around a result, and the field of a plugin's schema."""

from __future__ import annotations

CALL, CALL_END = "<|startofthink|>", "<|endofthink|>"
RESULT, RESULT_END = "<|startofexec|>", "<|endofexec|>"
PLUGIN_SCHEMA = "plugin_schema_for_model"
TELLING = (CALL, RESULT, PLUGIN_SCHEMA)  # any of them in a text makes it one of this format's
