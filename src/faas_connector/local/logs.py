"""The functions' logs: the last lines of each, and who follows them."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from urllib.parse import parse_qs

import msgspec

from faas_connector.local.shapes import LogMessage
from faas_connector.names import FunctionName

_KEPT_LINES = 2000
_KEPT_CHARACTERS = 16 * 1024
_GO_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class LogRequest(msgspec.Struct, frozen=True):
    """The query of GET /system/logs."""

    name: str
    namespace: str = ""
    instance: str = ""
    tail: int = -1
    """How many of the kept lines; -1 for all."""
    follow: bool = False
    since: datetime | None = None

    @classmethod
    def parse(cls, query: str) -> LogRequest:
        """The request in a raw query.

        Raises:
            ValueError: a value can't be read; the provider answers 400.
        """
        values = {name: items[0] for name, items in parse_qs(query).items()}
        follow = values.get("follow", "false")
        since = values.get("since")
        if follow not in _GO_BOOLS:
            raise ValueError("follow")
        # RFC 3339 has more digits than Python reads.
        moment = None if since is None else re.sub(r"(\.\d{6})\d+", r"\1", since)
        return cls(
            values.get("name", ""),
            values.get("namespace", ""),
            values.get("instance", ""),
            int(values.get("tail", "-1")),
            _GO_BOOLS[follow],
            None if moment is None else _aware(datetime.fromisoformat(moment)),
        )


class LogLine(msgspec.Struct, frozen=True):
    """One line of one function's log."""

    time: datetime
    instance: str
    text: str


class FunctionLog:
    """The last lines of one function."""

    def __init__(self, name: FunctionName) -> None:
        self.name = name
        self._lines: deque[LogLine] = deque(maxlen=_KEPT_LINES)
        self._written = 0
        self._waiting: list[asyncio.Future[None]] = []

    def write(self, instance: str, text: str) -> None:
        """Add a line, and wake who follows."""
        self._lines.append(LogLine(datetime.now(UTC), instance, text[:_KEPT_CHARACTERS]))
        self._written += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    @property
    def lines(self) -> tuple[str, ...]:
        """The kept lines' text."""
        return tuple(line.text for line in self._lines)

    async def read(self, request: LogRequest) -> AsyncGenerator[bytes]:
        """The lines as ndjson, one piece a line; with `follow` it never ends by itself."""
        kept = [line for line in self._lines if _wanted(line, request)]
        seen = self._written
        if request.tail >= 0:
            kept = kept[max(0, len(kept) - request.tail) :]
        for line in kept:
            yield self._message(line)
        while request.follow:
            missed = self._written - seen
            if not missed:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                await future
                continue
            lines = list(self._lines)[-missed:]
            seen = self._written
            for line in lines:
                if _wanted(line, request):
                    yield self._message(line)

    def _message(self, line: LogLine) -> bytes:
        message = LogMessage(
            self.name.name,
            self.name.namespace,
            line.instance,
            line.time.isoformat().replace("+00:00", "Z"),
            line.text,
        )
        return msgspec.json.encode(message) + b"\n"


def _wanted(line: LogLine, request: LogRequest) -> bool:
    return (not request.instance or line.instance == request.instance) and (
        request.since is None or line.time >= request.since
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
