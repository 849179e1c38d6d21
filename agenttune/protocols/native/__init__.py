"""Native protocols: how families of models call tools by their own chat templates. One file a family."""

from __future__ import annotations

from agenttune.protocols.native.base import NATIVE, NativeProtocol
from agenttune.protocols.native.deepseek_v3 import DEEPSEEK_V3
from agenttune.protocols.native.gemma4 import GEMMA4
from agenttune.protocols.native.hermes import HERMES
from agenttune.protocols.native.llama3_json import LLAMA3_JSON
from agenttune.protocols.native.mistral import MISTRAL, MISTRAL_TEKKEN
from agenttune.protocols.native.openai import OPENAI
from agenttune.protocols.native.qwen3_coder import QWEN3_CODER

__all__ = ["FAMILIES", "NATIVE", "NativeProtocol"]

FAMILIES: tuple[NativeProtocol, ...] = (HERMES, QWEN3_CODER, LLAMA3_JSON, MISTRAL, MISTRAL_TEKKEN, OPENAI, DEEPSEEK_V3, GEMMA4)
