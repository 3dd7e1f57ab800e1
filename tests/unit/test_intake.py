"""What counts as unsettled of a source."""

from datetime import datetime

import pytest

from faas_connector.config import Limits
from faas_connector.event import Event
from faas_connector.intake import Intake, Tracked
from faas_connector.source import Delivery, Guarantee, SourceTraits


@pytest.fixture
def intake():
    limits = Limits(max_unsettled=3, max_unsettled_bytes=100)
    return Intake("s", SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE), limits)


def event_of(intake, size, headers=None):
    event = Event("t", bytes(size), headers or {})
    return Tracked(intake, Delivery(event), event, 0.0, "s", None)


def test_there_is_room_until_so_many_are_unsettled(intake):
    events = [event_of(intake, 1) for _ in range(3)]
    for event in events:
        assert intake.has_room
        intake.take(event)
    assert not intake.has_room
    intake.release(events[1])
    assert intake.has_room


def test_there_is_room_until_so_many_bytes_are_unsettled(intake):
    large = event_of(intake, 100)
    intake.take(large)
    assert (intake.unsettled, intake.unsettled_bytes) == (1, 100)
    assert not intake.has_room
    intake.release(large)
    assert intake.has_room


def test_header_fields_count_where_they_are_many():
    limits = Limits(max_unsettled_bytes=10_000)
    intake = Intake("s", SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE), limits)
    few = event_of(intake, 1, {f"X-{number}": "1" for number in range(10)})
    many = event_of(intake, 1, {f"X-{number}": "1" for number in range(1000)})
    intake.take(few)
    assert intake.unsettled_bytes == 1
    intake.take(many)
    assert not intake.has_room
    many.event.headers.clear()  # whoever gave it may do so
    intake.release(many)
    assert intake.unsettled_bytes == 1


def test_what_comes_again_counts_once_and_is_released_once(intake):
    event = event_of(intake, 10)
    intake.take(event)
    intake.take(event)
    assert (intake.unsettled, intake.unsettled_bytes) == (1, 10)
    intake.release(event)
    intake.release(event)
    assert (intake.unsettled, intake.unsettled_bytes) == (0, 0)


@pytest.mark.parametrize("time", [datetime.min, datetime.max])  # noqa: DTZ901
def test_a_time_at_the_end_of_the_calendar_tells_no_lag(intake, time):
    intake.last_time = time, 0.0
    assert intake.lag in {None, 0.0}
