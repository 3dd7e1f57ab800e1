"""When schedules fire, beside a walk through a year in steps of five minutes."""

import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.errors import ConfigError
from faas_connector.schedules import why_no_schedule
from faas_connector.sources.cron.schedule import parse, parse_all

YEAR = datetime(2025, 1, 1, tzinfo=UTC).timestamp(), datetime(2026, 1, 1, tzinfo=UTC).timestamp()
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


def firings(text, zone):
    found, schedule, time = [], parse(text, zone), YEAR[0] - 1
    while (time := schedule.after(time)) is not None and time < YEAR[1]:
        found.append(int(time))
    return found


@functools.cache
def minutes(zone):
    """Every fifth minute of the year, in the zone."""
    name = ZoneInfo(zone)
    times = range(int(YEAR[0]), int(YEAR[1]), 300)
    return [(each, datetime.fromtimestamp(each, name)) for each in times]


def walked(zone, fires):
    """Every one whose time of day fires."""
    return [time for time, at in minutes(zone) if fires(at)]


@pytest.mark.parametrize("zone", ZONES)
def test_what_fires_within_every_hour_fires_as_the_hours_pass(zone):
    assert firings("*/20 * * * *", zone) == walked(zone, lambda at: at.minute % 20 == 0)


CALENDAR = {
    "30 12 * * MON-FRI": lambda at: (at.hour, at.minute) == (12, 30) and at.weekday() < 5,
    "0,45 9-17/4 * 1,7 *": lambda at: (
        at.minute in {0, 45} and at.hour in {9, 13, 17} and at.month in {1, 7}
    ),
    "15 18 1-7,28 */3 *": lambda at: (
        (at.hour, at.minute) == (18, 15)
        and (at.day < 8 or at.day == 28)
        and at.month in {1, 4, 7, 10}
    ),
    "5 6 13 * FRI": lambda at: (
        (at.hour, at.minute) == (6, 5) and (at.day == 13 or at.weekday() == 4)
    ),
    "0 12 * * 0": lambda at: (at.hour, at.minute) == (12, 0) and at.weekday() == 6,
}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("text", CALENDAR)
def test_days_months_and_weekdays(zone, text):
    """At hours that every day has; a day of the month or a weekday will do where both are given."""
    assert firings(text, zone) == walked(zone, CALENDAR[text])


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


ITEMS = st.lists(
    st.sampled_from([*"*/-,?L#W", "0", "1", "5", "7", "12", "31", "59", "60", "jan", "MON"]),
    max_size=4,
).map("".join)


def is_schedule(text):
    return why_no_schedule(text) is None


def takes_it(text):
    try:
        parse(text)
    except ConfigError:
        return False
    return True


@given(st.integers(0, 5), ITEMS)
@example(3, "L/2")
@example(5, "5L")
@example(5, "MON#5")
@example(0, "")
@example(0, "*-5")
def test_check_takes_for_a_schedule_what_the_library_does(place, item):
    fields = ["*"] * 6
    fields[place] = item
    text = " ".join(fields)
    assert is_schedule(text) == takes_it(text)


DATES = st.sampled_from(
    ["*", "*/31", "L", "LW", "29", "30", "31", "30-31", "31,30", "30/2", "28,31"]
)
MONTHS = st.sampled_from(
    ["*", "2", "FEB", "2,4", "4,6,9,11", "2/2", "4-4/8", "*/2", "1-6/3", "2-3"]
)
WEEKDAYS = st.sampled_from(["*", "MON", "*/2", "5L", "?", "*,3"])


@given(DATES, MONTHS, WEEKDAYS)
def test_check_refuses_dates_that_no_month_has_as_the_library_does(day, month, weekday):
    """30 February never comes; a weekday beside it does."""
    text = f"0 0 {day} {month} {weekday}"
    assert is_schedule(text) == takes_it(text)


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "UTC", "Etc/GMT+3", "Europe/Berln", "Mars", "../x"]
)
def test_check_knows_the_time_zones_that_the_source_knows(name):
    text = f"CRON_TZ={name} 0 8 * * *"
    assert is_schedule(text) == takes_it(text)


def test_without_any_time_zones_none_is_refused(monkeypatch):
    """As where neither the system nor a package brings them; no cron source is installed there."""
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    assert is_schedule("CRON_TZ=Europe/Berln 0 8 * * *")
    with pytest.raises(
        ConfigError, match="this machine knows none, which pip install tzdata mends"
    ):
        parse("CRON_TZ=Europe/Berln 0 8 * * *")
