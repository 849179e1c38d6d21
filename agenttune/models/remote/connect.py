"""Which way a served model is spoken to: found by asking it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agenttune.errors import UserError
from agenttune.models.remote.by_ids import RemoteModel, described
from agenttune.models.remote.by_messages import RemoteMessages
from agenttune.models.remote.server import Server, ServerRefusal
from agenttune.values.tokens import GrammarTokenizer, Tokenizer
from agenttune.values.trajectory import Json, JsonObject

UNKNOWN = 1 << 20  # tokens of a context that the server does not tell
PER_TOKEN = 4  # bytes, roughly: what a context of tokens is in bytes
PROBE = "Is 3 < 4? 天气 [OK]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A served model, the formats that its server says it was tuned in (empty: it does not), its base, and how it is spoken to."""

    model: RemoteModel
    how: str
    protocol: str = ""
    template: str = ""
    template_options: Mapping[str, Json] = field(default_factory=dict)
    observation_role: str = ""
    base: str = ""

    @property
    def by_ids(self) -> bool:
        """Whether prompts are token ids; else they are messages, and the server's own template lays them out."""
        return not isinstance(self.model, RemoteMessages)


def connect(base_url: str, name: str, load_tokenizer: Callable[[str], Tokenizer]) -> Connection:
    """The model of a server under `name` (empty: the first): by token ids where its tokenizer is here and it takes ids, else by messages.

    `load_tokenizer` loads one by a model's name. Raises `UserError` where there is no such server or model.
    """
    server = Server(base_url)
    entry = described(server.listed(), name)
    served = str(entry["id"])
    room = _context(entry)
    protocol, template = (str(entry.get(key) or "") for key in ("protocol", "template"))
    options = entry.get("template_options")
    base = str(entry.get("root") or served)
    try:
        tokenizer = _tokenizer(base, load_tokenizer)
        _check(server, served, tokenizer)
    except _ByMessages as reason:
        if protocol:  # agenttune's server reads the protocol's text itself, and would answer messages with what it understood
            raise UserError(f"{served} at {server.base} speaks {protocol} by token ids, and cannot be asked by them: {reason}") from reason
        how = f"{served} at {server.base} is asked by messages, not by token ids: {reason}; what is counted are bytes"
        return Connection(
            model=RemoteMessages(server, served, context=room * PER_TOKEN), how=how, base=base, protocol=protocol, template=template
        )
    model = RemoteModel(server, served, tokenizer, vocabulary=_vocabulary(tokenizer), context=room)
    how = f"{served} at {server.base} is asked by token ids"
    given = options if isinstance(options, dict) else {}
    return Connection(
        model=model,
        how=how,
        base=base,
        protocol=protocol,
        template=template,
        template_options=given,
        observation_role=str(entry.get("observation_role") or ""),
    )


def _context(entry: JsonObject) -> int:
    """The context that a server tells of a model: ``max_model_len`` (vLLM, SGLang, our own), or llama.cpp's ``meta.n_ctx``."""
    meta = entry.get("meta")
    for told in (entry.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None):
        if isinstance(told, int) and told > 0:
            return told
    return UNKNOWN


class _ByMessages(Exception):
    """Why token ids cannot be sent."""


def _tokenizer(base: str, load_tokenizer: Callable[[str], Tokenizer]) -> Tokenizer:
    try:
        return load_tokenizer(base)
    except UserError as error:
        raise _ByMessages(f"the tokenizer of {Path(base).name} is not here ({str(error)[:120]})") from error


def _check(server: Server, served: str, tokenizer: Tokenizer) -> None:
    """That the server takes ids, gives ids, and means the same by them."""
    ids = tokenizer.encode(PROBE, special=False)
    try:
        made = server.post("/v1/completions", {"model": served, "prompt": ids, "max_tokens": 1, "temperature": 0, "return_token_ids": True})
    except ServerRefusal as error:
        raise _ByMessages(f"it refuses them ({error})") from error
    choice = _first(made)
    if not isinstance(choice.get("token_ids"), list):
        raise _ByMessages("it takes token ids and does not give them back")
    try:
        told = server.post("/tokenize", {"model": served, "prompt": PROBE, "add_special_tokens": False})
    except (ServerRefusal, UserError):
        return  # it cannot be asked how it reads a text
    if isinstance(told, dict) and told.get("tokens") != ids:
        raise _ByMessages("its tokenizer is another than the one here")


def _first(made: Json) -> JsonObject:
    choices = made.get("choices") if isinstance(made, dict) else None
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _vocabulary(tokenizer: Tokenizer) -> int:
    """How many ids there are."""
    if isinstance(tokenizer, GrammarTokenizer) and not isinstance(tokenizer.grammar_vocabulary, str):
        return len(tokenizer.grammar_vocabulary)
    hf = getattr(tokenizer, "hf", None)
    assert hf is not None, "a tokenizer of bytes or of transformers"
    return len(hf)
