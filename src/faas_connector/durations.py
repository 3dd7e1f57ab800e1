"""Durations in Go's spelling (`30s`, `1m30s`, `250ms`), as annotations and settings write them."""

from __future__ import annotations

import re

from faas_connector.errors import ConfigError

# Go takes both characters that look like a mu.
_UNITS = {
    "ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3,
    "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_PART = re.compile(rf"(\d+(?:\.\d*)?|\.\d+)({'|'.join(_UNITS)})", re.ASCII)
# Go counts nanoseconds in 63 bits.
_LONGEST = 2**63 / 1e9


def parse_duration(text: str) -> float:
    """Seconds of a duration as Go's `time.ParseDuration` reads it; a negative one is refused.

    Blanks around it do no harm.

    Raises:
        ConfigError: `text` is no such duration; the message holds it and an example.
    """
    digits = text.strip().removeprefix("+")
    if digits == "0":
        return 0.0
    seconds, end = 0.0, 0
    while part := _PART.match(digits, end):
        seconds += float(part[1]) * _UNITS[part[2]]
        end = part.end()
    if not digits or end != len(digits) or seconds >= _LONGEST:
        raise ConfigError(f"{text!r} is no duration; write for example '30s', '1m30s' or '250ms'")
    return seconds


def format_duration(seconds: float) -> str:
    """A duration as people read it: `850 µs`, `12.3 ms`, `1.25 s`."""
    # The borders are where rounding would give "1000 µs" and "1000.0 ms".
    if seconds < 0.000_999_5:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.999_95:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s"
