"""From a typed function, or another callable, to a tool with a JSON Schema."""
