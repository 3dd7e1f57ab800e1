"""What a function answered, and who hears of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from faas_connector.durations import format_duration
from faas_connector.errors import ConfigError, ConnectorError
from faas_connector.event import Event
from faas_connector.headers import Headers
from faas_connector.names import FunctionName

_NO_HEADERS = Headers()


class InvokerResponse(msgspec.Struct, frozen=True):
    """What became of one call: one event, one function."""

    event: Event
    """What was sent."""
    function: FunctionName
    """Who was called; `str()` gives `name.namespace`."""
    call_id: str
    """The `X-Call-Id` that was sent: a UUID, the same in the gateway's and the function's logs."""
    duration: float
    """Seconds until the answer was complete, waiting for a free connection included."""
    status: int | None = None
    """HTTP status; None where there was no complete answer."""
    headers: Headers = _NO_HEADERS
    """The answer's header fields; names ignore case."""
    body: bytes = b""
    """The answer's body, unchanged."""
    error: ConnectorError | None = None
    """Why there was no complete answer; None where there was one, whatever its status."""
    attempts: int = 1
    """Calls made so far, this one included."""
    source: str = ""
    """The name of the source that the event came from; empty outside a run."""

    @property
    def topic(self) -> str:
        """The event's topic."""
        return self.event.topic

    @property
    def ok(self) -> bool:
        """Whether the function answered 2xx, or the gateway's queue took the call (202)."""
        return self.status is not None and 200 <= self.status < 300

    def __str__(self) -> str:
        # Topics come from outside and must not write log lines of their own.
        topic = self.topic if self.topic.isprintable() else repr(self.topic)
        outcome = f"no answer: {self.error}" if self.status is None else str(self.status)
        return (
            f"{topic or '-'} -> {self.function} {outcome} "
            f"{format_duration(self.duration)} {len(self.body)} B"
        )


ResponseSubscriber = (
    Callable[[InvokerResponse], None] | Callable[[InvokerResponse], Awaitable[None]]
)
"""Hears each response. A coroutine function runs on the loop, any other callable in a thread."""


class LogResponses:
    """A subscriber that logs each response: failures as warnings, the others at `level`.

    Example:
        >>> import logging
        >>> show = LogResponses(level=logging.DEBUG, response_body=True)
    """

    def __init__(
        self,
        *,
        level: int = logging.INFO,
        request_body: bool = False,
        response_body: bool = False,
        max_body: int = 2048,
        logger: logging.Logger | None = None,
    ) -> None:
        """Choose what is logged.

        Args:
            level: for answers with 2xx; everything else is a WARNING.
            request_body: log what was sent, too.
            response_body: log what was answered, too.
            max_body: bytes of a body after which it is cut.
            logger: where to; default `faas_connector.responses`.

        Raises:
            ConfigError: `level` is no number, or `max_body` is negative.
        """
        if not isinstance(level, int):
            raise ConfigError(f"level must be a number, got {level!r}; for example logging.INFO")
        if max_body < 0:
            raise ConfigError(f"max_body must be 0 bytes or more, got {max_body}; for example 2048")
        self._level = level
        self._request_body = request_body
        self._response_body = response_body
        self._max_body = max_body
        self._logger = logger or logging.getLogger("faas_connector.responses")

    async def __call__(self, response: InvokerResponse) -> None:
        """Log one response."""
        level = self._level if response.ok else logging.WARNING
        if not self._logger.isEnabledFor(level):
            return
        extra = {
            "topic": response.topic,
            "function": str(response.function),
            "status": response.status,
            "duration": response.duration,
            "event_id": response.event.id,
            "call_id": response.call_id,
            "attempt": response.attempts,
        }
        if response.source:
            extra["source"] = response.source
        text = str(response)
        if self._request_body:
            text += f" request={self._shorten(response.event.data)}"
        if self._response_body:
            text += f" response={self._shorten(response.body)}"
        self._logger.log(level, "%s", text, extra=extra)

    def _shorten(self, body: bytes) -> str:
        shown = repr(body[: self._max_body].decode("utf-8", "backslashreplace"))
        return f"{shown}… ({len(body)} B)" if len(body) > self._max_body else shown
