"""What ``agenttune chat`` can be told: one value that the command line fills and `chat` takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agenttune import protocols
from agenttune.agent.guards import Guards
from agenttune.errors import UserError
from agenttune.screens.chat.headless import FORMATS, OutputFormat
from agenttune.values.tokens import SamplingParams

TOOLS = ("calculator", "local_search")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """A model with or without an adapter, its tools, and how it answers.

    `model` is loaded here, or with `base_url` named to an OpenAI-compatible server (empty: the first that it has). `prompt` is one question
    that is answered alone, with what stands on standard input (``-``: that alone), in the form `output_format`, within `max_seconds` (0:
    however long it takes); None begins a conversation. `resume` goes on with a kept session: a file, an id or its beginning, empty for the
    newest. Without `trace` nothing is kept. `protocol` and `template`
    are those of the adapter's card where they are None. The tools named in `allow` run without being asked about. `mcp` is a
    file of MCP servers; with `loopback` an OpenAPI tool may reach a server on this machine. With `constrain` a
    call is always one of an offered tool with arguments that fit; without `guards` a run may end at a limit with no answer; with
    `repair` a reply that breaks the rules is read by `agent.ladder`. With `lagent` its ReAct answers in the place of our loop.
    """

    model: str = ""
    adapter: str | None = None
    tools: tuple[str, ...] = TOOLS
    allow: tuple[str, ...] = ()
    mcp: Path | None = None
    loopback: bool = False
    prompt: str | None = None
    output_format: OutputFormat = "text"
    max_seconds: float = 0.0
    resume: str | None = None
    trace: bool = True
    base_url: str | None = None
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
    lagent: bool = False

    def sampling(self) -> SamplingParams:
        """What is sampled with. Raises `UserError` for a number out of its range."""
        for name, value in (("--max-new-tokens", self.max_new_tokens), ("--max-steps", self.max_steps)):
            if value < 1:
                raise UserError(f"{name} must be 1 or more, not {value}")
        limits = self.guards or Guards()
        if limits.observation_tokens < 1 or limits.run_tokens < 0 or not 0 < limits.tool_seconds < float("inf"):
            raise UserError("--observation-tokens must be 1 or more, --max-tokens 0 or more, and --tool-seconds more than 0")
        for name, number in (("--temperature", self.temperature), ("--max-seconds", self.max_seconds)):
            if not 0 <= number < float("inf"):
                raise UserError(f"{name} must be 0 or more, not {number:g}")
        return SamplingParams(max_new_tokens=self.max_new_tokens, temperature=self.temperature)

    def check(self) -> None:
        """Raises `UserError` for what does not go together, before anything is loaded."""
        if self.protocol is not None:
            protocols.check(self.protocol)
        if self.output_format not in FORMATS:
            raise UserError(f'there is no output format "{self.output_format}"; one of {", ".join(FORMATS)}')
        if self.prompt is None and self.output_format != "text":
            raise UserError(f"--output-format {self.output_format} is for one question: give it after -p")
        if not self.model and self.base_url is None and self.resume is None:
            raise UserError("name a model: smollm2-135m, a folder, a .gguf file, or a hub id")
        if self.adapter and self.base_url is not None:
            raise UserError("--adapter is loaded here, and --base-url asks a server: name the adapter that it serves as the model")
