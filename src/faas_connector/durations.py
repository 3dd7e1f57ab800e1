"""Durations in Go's spelling (`30s`, `1m30s`, `250ms`), as annotations and settings write them."""

from __future__ import annotations

import re

from faas_connector.errors import ConfigError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a duration as Go's `time.ParseDuration` reads it; never negative.

    Raises:
        ConfigError: `text` is no such duration; the message holds it and an example.
    """
    stripped = text.strip()
    if stripped == "0":
        return 0.0
    seconds, end = 0.0, 0
    while part := _PART.match(stripped, end):
        seconds += float(part[1]) * _UNITS[part[2]]
        end = part.end()
    if not stripped or end != len(stripped):
        raise ConfigError(f"{text!r} is no duration; write for example '30s', '1m30s' or '250ms'")
    return seconds


def format_duration(seconds: float) -> str:
    """A duration as people read it: `850 µs`, `12.3 ms`, `1.25 s`."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s"
