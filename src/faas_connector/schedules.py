"""Whether a text is a schedule, told without the library that works out when it fires."""

from __future__ import annotations

import contextlib
import difflib
import re
from datetime import UTC, tzinfo
from typing import NamedTuple

from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError

_WORDS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)")
_LONGEST_NAME = 100
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


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
SCHEDULES = (
    "must be cron expressions (minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-7), "
    "several joined by ';'"
)
"""What schedules must be, as the end of a sentence."""
CRON_TOPICS = ("cron-function", "com.openfaas.cron")
"""Topics of functions whose annotation `schedule` is followed, as the existing connectors do."""


def why_no_schedule(text: str) -> str | None:
    """Why it is no cron expression of 5 or 6 fields, `@daily` and the like, or `@every 90s`.

    None where it is one, and fires. The text is the end of a sentence about it.
    """
    try:
        _check(text)
    except ConfigError as error:
        return str(error)
    return None


def _check(text: str) -> None:
    fields = text.split()
    if fields and (zone := _ZONE.fullmatch(fields[0])):
        _check_zone(zone[1])
        fields = fields[1:]
    if len(fields) == 2 and fields[0] == "@every":
        _check_interval(fields[1])
    elif len(fields) in {5, 6}:
        _check_fields([each.upper().replace("?", "*") for each in fields])
    elif len(fields) != 1 or fields[0] not in _WORDS:
        raise ConfigError(SCHEDULES)


def zone_of(name: str) -> tzinfo:
    """A time zone by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name == "UTC":
        return UTC
    import zoneinfo  # noqa: PLC0415  # slow to import, and few schedules name a zone

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"there is no time zone {name!r}; {_nearest_zone(name)}") from None


def _known_zones() -> set[str]:
    import zoneinfo  # noqa: PLC0415  # as above

    return zoneinfo.available_timezones()


def _nearest_zone(name: str) -> str:
    known = _known_zones()
    if not known:
        return "this machine knows none, which pip install tzdata mends"
    nearest = difflib.get_close_matches(name[:_LONGEST_NAME], known, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else "for example 'Europe/Berlin' or 'UTC'"


def _check_zone(name: str) -> None:
    try:
        zone_of(name)
    except ConfigError:
        if _known_zones():  # else it can't be told here, and no cron source runs
            raise


def _check_interval(text: str) -> None:
    with contextlib.suppress(ConfigError):
        if parse_duration(text) >= 1.0:
            return
    raise ConfigError("must have a duration of at least '1s' behind @every")


def _check_fields(fields: list[str]) -> None:
    values = [
        [_values(field, item) for item in given.split(",")]
        for field, given in zip(_FIELDS[-len(fields) :], fields, strict=True)
    ]
    if not all(all(items) for items in values):
        raise ConfigError(SCHEDULES)
    days, months, weekdays = fields[-3:]
    if days.startswith("*") or weekdays.startswith("*"):  # both must be right, else one of them
        first = min(items[0] for items in values[-3])
        if first > max(_LONGEST_MONTHS[month - 1] for each in values[-2] for month in each):
            raise ConfigError(f"never fires: no month of {months!r} has a day {first}")


def _values(field: _Field, item: str) -> range:
    """What an item of a field stands for; empty where it is wrong."""
    if item and re.fullmatch(field.alone, item, re.ASCII):
        return range(field.least, field.least + 1)  # it comes in every month
    span, slash, step = item.partition("/")
    if slash and not re.fullmatch(r"0*[1-9]\d*", step, re.ASCII):
        return range(0)
    if span == "*":
        start, end = field.least, field.most
    else:
        first, dash, last = span.partition("-")
        start = _number(field, first)
        end = _number(field, last) if dash else start
    if not field.least <= start <= end <= field.most:
        return range(0)
    if slash and start == end:
        end = field.most
    return range(start, end + 1, int(step) if slash else 1)


def _number(field: _Field, text: str) -> int:
    if text in field.names:
        return field.least + field.names.index(text)
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else -1
