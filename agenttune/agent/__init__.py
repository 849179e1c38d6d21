"""The agent: decoding, steps, the ReAct loop and its tools."""
