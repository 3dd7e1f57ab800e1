"""When a schedule fires. Values and arithmetic; nothing here waits."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError, MissingExtraError
from faas_connector.schedules import zone_of

try:
    from cronsim import CronSim, CronSimError
except ImportError as error:  # pragma: no cover - the contract suite runs it in another process
    raise MissingExtraError(
        "the cron source needs the library cronsim, which isn't installed: "
        "pip install 'faas-connector[cron]'"
    ) from error

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression in its time zone, or an interval."""

    text: str
    """As it was written."""
    zone: tzinfo
    cron: str = ""
    """Five fields, or six that begin with seconds."""
    every: float = 0.0
    """Seconds of an interval, counted from the epoch: the same ones whoever counts."""

    def after(self, moment: float) -> float | None:
        """The first firing later than a moment; None where there is none in fifty years.

        Times are seconds since the epoch. Where clocks go forward, what would fire in the hour
        that is left out fires right after it; where they go back, what has a fixed hour fires
        once, as with Debian's cron. What fires every hour or more often fires as the hours pass.
        """
        if self.every:
            return (math.floor(moment / self.every) + 1) * self.every
        for found in CronSim(self.cron, datetime.fromtimestamp(moment, self.zone)):
            if (time := found.timestamp()) > moment:
                return time
        return None

    def written(self, moment: float) -> str:
        """A moment in the schedule's zone, as RFC 3339 writes it."""
        return datetime.fromtimestamp(moment, self.zone).isoformat()


def parse(text: str, time_zone: str = "UTC") -> Schedule:
    """Read one schedule.

    Args:
        text: `*/5 * * * *`, with a field for seconds in front or not; `@every 90s`; `@daily` and
            the like. `CRON_TZ=Europe/Berlin` or `TZ=…` may stand before it.
        time_zone: of a schedule that names none.

    Raises:
        ConfigError: it is none.
    """
    text = " ".join(text.split())
    found = _ZONE.fullmatch(text)
    name, rest = (found[1], found[2]) if found else (time_zone, text)
    zone = zone_of(name)
    if rest.startswith("@every "):
        seconds = float(math.floor(parse_duration(rest.removeprefix("@every "))))
        if seconds < 1:
            raise ConfigError(f"{text!r}: the interval must be at least 1 second")
        return Schedule(text, zone, every=seconds)
    cron = _WORDS.get(rest, rest).replace("?", "*")
    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ConfigError(
            f"{text!r} is no schedule ({str(error).lower()}); for example '*/5 * * * *', "
            "'@every 90s' or 'CRON_TZ=Europe/Berlin 0 8 * * MON-FRI'"
        ) from None
    return Schedule(text, zone, cron)


def parse_all(text: str, time_zone: str = "UTC") -> tuple[Schedule, ...]:
    """Read schedules that are joined by `;`.

    Raises:
        ConfigError: one of them is none.
    """
    return tuple(parse(each, time_zone) for each in text.split(";") if each.strip())
