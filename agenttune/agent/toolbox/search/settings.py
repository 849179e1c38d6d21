"""Which search service is asked, and with what: read from the environment, where keys belong."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agenttune.agent.toolbox.answers import ToolError
from agenttune.errors import nearest

SERVICE = "AGENTTUNE_SEARCH"  # auto, or a service's name
OFFLINE = "AGENTTUNE_OFFLINE"  # 1: nothing is asked; only what the cache holds is answered
LANGUAGE = "AGENTTUNE_SEARCH_LANGUAGE"
WIKIPEDIA = "https://{language}.wikipedia.org/w/api.php"
KEYS = {"tavily": "TAVILY_API_KEY", "serper": "SERPER_API_KEY"}
# Where a service is asked. A person may name another place: a proxy, a server of their own.
PLACES = {
    "wikipedia": ("AGENTTUNE_SEARCH_URL", WIKIPEDIA),
    "tavily": ("AGENTTUNE_TAVILY_URL", "https://api.tavily.com"),
    "serper": ("AGENTTUNE_SERPER_URL", "https://google.serper.dev"),
    "searxng": ("AGENTTUNE_SEARXNG_URL", ""),
    "ddgs": ("", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """A service, its base address, whether the person named that address, its key, and the language a person chose."""

    service: str
    base: str
    own_base: bool = False
    key: str = ""
    language: str = ""
    offline: bool = False


def settings(environment: Mapping[str, str] = os.environ) -> SearchSettings:
    """The settings of now. ``auto`` is the first service that is configured: Tavily, Serper, SearXNG, else Wikipedia, which needs no key.

    Raises `ToolError` for a setting that cannot be meant.
    """
    language = environment.get(LANGUAGE, "")
    if language and not re.fullmatch(r"[a-z]{2,12}(-[a-z]{2,12})*", language):
        raise ToolError(f"{LANGUAGE} is not a language code such as en")
    service = environment.get(SERVICE) or "auto"
    if service == "auto":
        service = _first(environment)
    if service not in PLACES:
        raise ToolError(f'{SERVICE} names no search service "{service}"{nearest(service, PLACES)}; known: auto, {", ".join(PLACES)}')
    name, base = PLACES[service]
    own = environment.get(name, "") if name else ""
    return SearchSettings(
        service=service,
        base=own or base,
        own_base=bool(own),
        key=environment.get(KEYS.get(service, ""), "").strip(),
        language=language,
        offline=offline(environment),
    )


def offline(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether nobody may be asked."""
    return environment.get(OFFLINE, "") not in ("", "0")


def _first(environment: Mapping[str, str]) -> str:
    keyed = next((service for service, name in KEYS.items() if environment.get(name, "").strip()), "")
    return keyed or ("searxng" if environment.get(PLACES["searxng"][0]) else "wikipedia")
