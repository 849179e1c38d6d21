"""What every search service's answer becomes, how it is printed for a model, and the ways in which a search can fail."""

from __future__ import annotations

import email.utils
import html
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from agenttune.agent.toolbox.answers import ToolError
from agenttune.agent.toolbox.web.urls import StatusError

RESULTS = 5  # of one search
SNIPPET = 300  # characters
_TITLE = 200
_ADDRESS = 500
_WAIT = 86_400  # seconds; a longer wait than a day is only said to be long


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """One page that was found. `date` is when the page says it was published, as its service writes it; empty where it does not say."""

    title: str
    address: str
    snippet: str
    date: str = ""


class SearchError(ToolError):
    """A search that gave nothing, and why, in words for the model."""


class NoKeyError(SearchError):
    """The service wants a key, and there is none or not this one."""


class RefusedError(SearchError):
    """The service will not answer this search."""


class LimitError(SearchError):
    """Too many searches; `retry_after` is in seconds, None where the service does not say."""

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        wait = "" if retry_after is None else f"; wait {retry_after:g} s" if retry_after <= _WAIT else "; wait for more than a day"
        super().__init__(sentence + wait)
        self.retry_after = retry_after


class DownError(SearchError):
    """The service cannot be reached, or failed."""


class UnreadableError(SearchError):
    """The service answered in a form that it does not document."""


def of_status(service: str, key: str, error: StatusError) -> SearchError:
    """What a status means. `key` is the environment variable that holds the service's key; empty where it has none."""
    status = error.status
    if status == 401 or (status == 403 and key):
        return NoKeyError(f"{service} does not accept the key in {key or 'the request'} ({status})")
    if status in (402, 432, 433):  # Tavily's: the plan's limit, the pay-as-you-go limit
        return LimitError(f"the searches of the plan at {service} are used up ({status})")
    if status == 429:
        return LimitError(f"{service} takes no more searches for now ({status})", seconds(error.retry_after))
    if status >= 500:
        return DownError(f"{service} is down ({status})")
    return RefusedError(f"{service} refused the search ({status})")


def seconds(retry_after: str) -> float | None:
    """A ``Retry-After`` header (RFC 9110) as seconds from now: a number of seconds, or a date."""
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(round(at - time.time()), 0)


def result(title: object, address: object, snippet: object, date: object = "") -> SearchResult:
    """A result of what a service sent: tags away, entities read, one line each, cut to what a model needs. None counts as empty."""
    return SearchResult(
        title=plain(title, _TITLE) or "untitled",
        address=_address(address),
        snippet=plain(snippet, SNIPPET),
        date=plain(date, 40),
    )


def plain(markup: object, limit: int = SNIPPET) -> str:
    """Text of a piece of HTML: one line of at most `limit` characters."""
    found = "" if markup is None else str(markup)[: 20 * limit]
    text = " ".join(html.unescape(re.sub(r"<[^<>]*>", "", found)).split())
    return text if len(text) <= limit else f"{text[:limit]}…"


def _address(found: object) -> str:
    """An http or https address in one piece; empty for anything else."""
    text = str(found or "").strip()
    return text if re.fullmatch(rf"https?://[^\s<>\"]{{1,{_ADDRESS}}}", text) else ""


def listed(results: Sequence[SearchResult]) -> str:
    """``1. Title: text (address, date)``, one result a line: the form in which the shipped searches answer and adapters were trained."""
    return "\n".join(f"{rank}. {_line(one)}" for rank, one in enumerate(results, 1))


def _line(one: SearchResult) -> str:
    source = ", ".join(filter(None, (one.address, one.date)))
    return f"{one.title}: {one.snippet}" + (f" ({source})" if source else "")
