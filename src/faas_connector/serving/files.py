"""How many clients may be connected to this process, by the files that it may open."""

from __future__ import annotations

import resource
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

# Open files that are for others than clients.
_OTHER_FILES = 256


class Listeners:
    """Those in this process that listen; each may have as many clients as any other.

    So nobody who is flooded takes the files of the others, or of the calls to the gateway.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = self._most = 0

    @contextmanager
    def another(self) -> Generator[None]:
        """One more, while inside."""
        with self._lock:
            self._now += 1
            # Who comes back after a failure finds its part free.
            self._most = max(self._most, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def part(self) -> int | None:
        """How many clients each of them may have now; None for no limit."""
        files = open_files()
        return None if files is None else max(1, (files - _OTHER_FILES) // max(1, self._most))


LISTENERS: Final = Listeners()
"""Of this process."""


def open_files() -> int | None:
    """How many files this process may open (`ulimit -n`); None for no limit."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if files == resource.RLIM_INFINITY else files
