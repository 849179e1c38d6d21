"""agenttune: turn logs of tool use into a tuned agent, talk to it with live tools, and measure whether it got better."""

__version__ = "0.1.0"
