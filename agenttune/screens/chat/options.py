"""What ``agenttune chat`` can be told: one value that the command line fills and `chat` takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from agenttune.agent.guards import Guards
from agenttune.errors import UserError
from agenttune.values.tokens import SamplingParams

TOOLS = ("calculator", "local_search")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """A model with or without an adapter, its tools, and how it answers.

    `prompt` is one question that is answered alone (``-``: standard input); None begins a conversation. `protocol` and `template`
    are those of the adapter's card where they are None. The tools named in `allow` run without being asked about. With `constrain` a
    call is always one of an offered tool with arguments that fit; without `guards` a run may end at a limit with no answer; with
    `repair` a reply that breaks the rules is read by `agent.ladder`.
    """

    model: str
    adapter: str | None = None
    tools: tuple[str, ...] = TOOLS
    allow: tuple[str, ...] = ()
    prompt: str | None = None
    protocol: str | None = None
    template: str | None = None
    system: str = ""
    device: str = "auto"
    dtype: str = "auto"
    bits: int | None = None
    max_new_tokens: int = 512
    max_steps: int = 8
    temperature: float = 0.0
    constrain: bool = True
    repair: bool = True
    guards: Guards | None = field(default_factory=Guards)

    def sampling(self) -> SamplingParams:
        """What is sampled with. Raises `UserError` for a number out of its range."""
        for name, value in (("--max-new-tokens", self.max_new_tokens), ("--max-steps", self.max_steps)):
            if value < 1:
                raise UserError(f"{name} must be 1 or more, not {value}")
        limits = self.guards or Guards()
        if limits.observation_tokens < 1 or limits.run_tokens < 0 or not 0 < limits.tool_seconds < float("inf"):
            raise UserError("--observation-tokens must be 1 or more, --run-tokens 0 or more, and --tool-seconds more than 0")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"--temperature must be 0 or more, not {self.temperature:g}")
        return SamplingParams(max_new_tokens=self.max_new_tokens, temperature=self.temperature)
