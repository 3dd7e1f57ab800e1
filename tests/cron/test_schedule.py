"""When schedules fire, beside a walk through every minute of a year."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from faas_connector.errors import ConfigError
from faas_connector.sources.cron.schedule import parse, parse_all

YEAR = datetime(2025, 1, 1, tzinfo=UTC).timestamp(), datetime(2026, 1, 1, tzinfo=UTC).timestamp()
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


def firings(text, zone):
    found, schedule, time = [], parse(text, zone), YEAR[0] - 1
    while (time := schedule.after(time)) is not None and time < YEAR[1]:
        found.append(int(time))
    return found


def walked(zone, fires):
    """Every minute of the year whose time of day, in the zone, fires."""
    name = ZoneInfo(zone)
    minutes = range(int(YEAR[0]), int(YEAR[1]), 60)
    return [each for each in minutes if fires(datetime.fromtimestamp(each, name))]


@pytest.mark.parametrize("zone", ZONES)
def test_what_fires_within_every_hour_fires_as_the_hours_pass(zone):
    assert firings("*/20 * * * *", zone) == walked(zone, lambda at: at.minute % 20 == 0)


@pytest.mark.parametrize("zone", ZONES)
def test_fixed_hours_fire_once_a_day_and_after_the_gap(zone):
    """02:30 is left out in spring, and comes twice in autumn, in some of the zones."""
    name, expected = ZoneInfo(zone), []
    day = datetime.fromtimestamp(YEAR[0], name).date() - timedelta(days=1)
    while (at := datetime(day.year, day.month, day.day, 2, 30, tzinfo=name)).year < 2027:
        back = at.astimezone(UTC).astimezone(name)
        if back.replace(fold=0) != at:  # there is no such time: the first one after the gap
            at = _after_gap(at, name)
        expected.append(int(at.timestamp()))
        day += timedelta(days=1)
    assert firings("30 2 * * *", zone) == [each for each in expected if YEAR[0] <= each < YEAR[1]]


def _after_gap(at, zone):
    time = int(at.replace(fold=1).timestamp()) // 60 * 60 - 7200
    before = datetime.fromtimestamp(time, zone).utcoffset()
    while datetime.fromtimestamp(time, zone).utcoffset() == before:
        time += 60
    return datetime.fromtimestamp(time, zone)


def test_a_schedule_may_name_its_zone():
    found = parse("CRON_TZ=Asia/Tokyo 0 9 * * *").after(YEAR[0])
    assert datetime.fromtimestamp(found, UTC).hour == 0
    assert parse("TZ=Asia/Tokyo 0 9 * * *").after(YEAR[0]) == found


def test_seconds_intervals_and_words():
    assert parse("*/15 * * * * *").after(100.0) == 105.0
    assert parse("@every 90s").after(100.0) == 180.0
    assert parse("@hourly").after(100.0) == 3600.0
    assert parse("0 0 1 ? *").after(YEAR[0]) == datetime(2025, 2, 1, tzinfo=UTC).timestamp()
    assert [each.text for each in parse_all("@daily; @every 1h")] == ["@daily", "@every 1h"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("61 * * * *", "is no schedule"),
        ("* * *", "is no schedule"),
        ("@every 10ms", "at least 1 second"),
        ("CRON_TZ=Mars/Olympus * * * * *", "no time zone 'Mars/Olympus'"),
    ],
)
def test_what_is_no_schedule_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)
