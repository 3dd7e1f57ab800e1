"""When a function is paused, when it is probed, and what ends that."""

import pytest

from faas_connector.health import FunctionHealth
from faas_connector.names import FunctionName

ILL, WELL = FunctionName("ill"), FunctionName("well")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def fail(health, times):
    for _ in range(times):
        health.failed(ILL)


def test_ten_failures_in_a_row_pause_it(clock):
    health = FunctionHealth(clock=clock)
    fail(health, 9)
    health.failed(WELL)
    assert not health.paused
    health.failed(ILL)
    assert health.paused == {ILL}


def test_a_success_between_failures_begins_the_count_anew(clock):
    health = FunctionHealth(clock=clock)
    fail(health, 9)
    health.answered(ILL)
    fail(health, 9)
    assert not health.paused


def test_who_waits_for_it_hears_of_the_pause_and_the_end_of_one_is_told_once(clock):
    told = []
    health = FunctionHealth(clock=clock, resumed=lambda: told.append(clock.now))
    pausing = health.pausing(ILL)
    assert not pausing.is_set()
    fail(health, 10)
    assert pausing.is_set()
    assert health.pausing(ILL).is_set()
    health.answered(ILL)
    health.answered(ILL)
    assert told == [100.0]
    assert not health.pausing(ILL).is_set()


def test_probes_come_after_1_2_4_and_at_most_30_seconds(clock):
    health = FunctionHealth(clock=clock)
    fail(health, 10)
    for wait in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        clock.now += wait - 0.01
        assert health.probes_due() == []
        clock.now += 0.01
        assert health.probes_due() == [ILL]
        health.begin_probe(ILL)


def test_what_is_gone_is_no_longer_paused_and_begins_anew_if_it_comes_back(clock):
    health = FunctionHealth(clock=clock)
    fail(health, 10)
    health.forget(ILL)
    assert not health.paused
    assert not health.pausing(ILL).is_set()
    fail(health, 9)
    assert not health.paused


def test_without_a_store_nothing_is_paused(clock):
    health = FunctionHealth(clock=clock, enabled=False)
    fail(health, 20)
    assert not health.paused
