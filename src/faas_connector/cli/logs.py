"""The log of a run: lines for people, or one JSON object each for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType

from faas_connector.cli.output import visible
from faas_connector.settings.connector import LogFormat, LogLevel

_FIELDS = ("source", "topic", "event_id", "function", "call_id", "attempt")
_OFTEN_SAID = ("source", "function")
# Characters of a field: ids and keys are the sender's, who may make one as long as a whole event.
_LONGEST = 512
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        line = super().formatMessage(record)
        said = {name: vars(record).get(name) for name in _FIELDS}
        fields = [
            f"{name}={_cut(value)}"
            for name, value in said.items()
            if value and not (name in _OFTEN_SAID and str(value) in record.getMessage())
        ]
        return visible(f"{line} [{' '.join(fields)}]" if fields else line)

    def formatException(  # noqa: N802  # logging's name
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, ...]
    ) -> str:
        # Set in, so that what an exception quotes can't look like a line of its own.
        lines = super().formatException(ei).splitlines()  # type: ignore[arg-type]
        return "\n".join(f"  {visible(line)}" for line in lines)


class JsonLines(logging.Formatter):
    """An object a line: time, level, logger, message, and what the line's `extra` holds."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {key: _cut(value) for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return _escaped(json.dumps(entry, default=str, ensure_ascii=False))


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}… ({len(value)} characters)"
    return value


def _escaped(text: str) -> str:
    """JSON without any character that ends a line or moves a cursor."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def log_run(form: LogFormat, level: LogLevel) -> None:
    """Send this package's log to stderr in this form, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form is LogFormat.JSON else _TextLines())
    log = logging.getLogger("faas_connector")
    log.handlers[:] = [handler]
    log.setLevel(level.name)
