"""What a server serves, and who may ask."""

from __future__ import annotations

from dataclasses import dataclass

from agenttune.serving.backends.base import Backend
from agenttune.serving.errors import ApiError
from agenttune.serving.prompts import Speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model with its engine, under the name that clients use."""

    name: str
    speaker: Speaker
    engine: Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a server serves, and who may ask. The first model is the one for requests that name none."""

    models: tuple[ServedModel, ...]
    api_key: str = ""
    hosts: tuple[str, ...] = ()
    most_tokens: int = 1024
    created: int = 0

    def model(self, name: str) -> ServedModel:
        """The model of a name, the first where none is named. Raises `ApiError`."""
        for one in self.models:
            if not name or one.name == name:
                return one
        known = ", ".join(one.name for one in self.models)
        raise ApiError(404, f'there is no model "{name[:80]}"; served: {known}', code="model_not_found", param="model")
