"""Run in an environment that has mistral-common: what Mistral's own encoder makes of conversations. Reads JSON lines, writes JSON lines."""

from __future__ import annotations

import json
import sys
from typing import Any

from mistral_common.protocol.instruct.request import ChatCompletionRequest  # type: ignore[import-not-found]
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # type: ignore[import-not-found]


def encoded(tokenizer: Any, case: dict[str, Any]) -> dict[str, Any]:
    """The ids and the text of one conversation: `messages` and `tools` in OpenAI's form."""
    found = tokenizer.encode_chat_completion(ChatCompletionRequest.from_openai(messages=case["messages"], tools=case["tools"]))
    return {"ids": list(found.tokens), "text": found.text}


def main() -> None:
    """``mistral_cases.py`` with one case a line on standard input; `tekken` says which of the third tokenizers."""
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(encoded(MistralTokenizer.v3(is_tekken=case["tekken"]), case)))


main()
