"""Whether a text is a schedule, told without the library that works out when it fires."""

from __future__ import annotations

import re
from typing import NamedTuple

from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError

_WORDS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_ZONE = re.compile(r"(CRON_)?TZ=\S+")


class _Field(NamedTuple):
    least: int
    most: int
    names: tuple[str, ...] = ()
    """Of the numbers from `least` up."""
    alone: str = ""
    """A pattern of what else may stand there, by itself."""


_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FIELDS = (
    _Field(0, 59),
    _Field(0, 59),
    _Field(0, 23),
    _Field(1, 31, alone=r"LW?(/0*[1-9]\d*)?"),
    _Field(1, 12, _MONTHS),
    _Field(0, 7, _DAYS, alone=f"0*[0-7]L|(0*[0-7]|{'|'.join(_DAYS)})#0*[1-5]"),
)


def is_schedule(text: str) -> bool:
    """Whether it is a cron expression of 5 or 6 fields, `@daily` and the like, or `@every 90s`."""
    fields = text.split()
    if fields and _ZONE.fullmatch(fields[0]):
        fields = fields[1:]
    if len(fields) == 2 and fields[0] == "@every":
        try:
            return parse_duration(fields[1]) >= 1.0
        except ConfigError:
            return False
    if len(fields) == 1:
        return fields[0] in _WORDS
    return len(fields) in {5, 6} and all(
        _is_item(field, item)
        for field, given in zip(_FIELDS[-len(fields) :], fields, strict=True)
        for item in given.upper().replace("?", "*").split(",")
    )


def _is_item(field: _Field, item: str) -> bool:
    if re.fullmatch(field.alone, item, re.ASCII):
        return item != ""
    span, slash, step = item.partition("/")
    if slash and not re.fullmatch(r"0*[1-9]\d*", step, re.ASCII):
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    start = _number(field, first)
    end = _number(field, last) if dash else start
    return field.least <= start <= end <= field.most


def _number(field: _Field, text: str) -> int:
    if text in field.names:
        return field.least + field.names.index(text)
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else -1
