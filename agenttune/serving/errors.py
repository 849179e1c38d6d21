"""What is wrong with a request, in the form that OpenAI's clients read."""

from __future__ import annotations

from agenttune.values.trajectory import Json


class ApiError(Exception):
    """An HTTP status and what its body says (platform.openai.com/docs/guides/error-codes)."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.retry_after = status, message, code, param, retry_after

    def body(self) -> Json:
        """``{"error": {"message", "type", "param", "code"}}``."""
        kind = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}.get(self.status, "invalid_request_error")
        kind = "server_error" if self.status >= 500 else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
