"""The log of a run: lines for people, or one JSON object each for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from faas_connector.cli.output import visible
from faas_connector.settings.connector import LogFormat, LogLevel

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        return visible(super().formatMessage(record))


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
        entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def log_run(form: LogFormat, level: LogLevel) -> None:
    """Send this package's log to stderr in this form, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form is LogFormat.JSON else _TextLines())
    log = logging.getLogger("faas_connector")
    log.handlers[:] = [handler]
    log.setLevel(level.name)
