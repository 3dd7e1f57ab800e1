"""What a client library warns of, said as the source's own, and each thing once in a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

_log = logging.getLogger("faas_connector.source")
# Seconds in which the same thing is said once: an outage makes libraries say so ten times each.
_SAID = 30.0


class _Rarely(logging.Filter):
    def __init__(self, source: str, but: Collection[str]) -> None:
        super().__init__()
        self._source = source
        self._said = dict.fromkeys(but, float("inf"))
        """When each message was said last."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        now = time.monotonic()
        if now - self._said.get(str(record.msg), -_SAID) >= _SAID:
            self._said[str(record.msg)] = now
            _log.warning("%s: %s", self._source, " ".join(record.getMessage().split()))
        return False


_filters: dict[str, _Rarely] = {}


def speak_rarely(library: str, source: str, *, but: Collection[str] = ()) -> None:
    """Have all loggers of a library speak so.

    Args:
        library: whose loggers' names begin with this.
        source: what each line begins with.
        but: messages, as the library writes them, that are left out.
    """
    ours = _filters.setdefault(library, _Rarely(source, but))
    for name in logging.root.manager.loggerDict:
        if name.startswith(library):
            logging.getLogger(name).addFilter(ours)
