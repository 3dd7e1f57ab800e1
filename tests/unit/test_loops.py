import asyncio
import gc

import pytest

from faas_connector.loops import event_runner


@pytest.fixture
def collector():
    before = gc.get_threshold()
    yield gc.set_threshold
    gc.set_threshold(*before)


async def threshold():
    return gc.get_threshold()


def test_the_collector_is_patient_while_it_runs_and_as_before_afterwards(collector):
    collector(700, 11, 12)
    with event_runner() as runner:
        assert runner.run(threshold()) == (10_000, 11, 12)
    assert gc.get_threshold() == (700, 11, 12)


@pytest.mark.parametrize("first", [0, 50_000])
def test_a_collector_that_is_off_or_more_patient_stays_so(collector, first):
    collector(first, 10, 10)
    with event_runner() as runner:
        assert runner.run(threshold())[0] == first


def test_what_fails_leaves_the_collector_as_before(collector):
    collector(700, 10, 10)

    async def fail():
        raise LookupError

    with pytest.raises(LookupError), event_runner() as runner:
        runner.run(fail())
    assert gc.get_threshold()[0] == 700


def test_it_runs_on_uvloop_where_that_is_installed():
    uvloop = pytest.importorskip("uvloop")

    async def loop():
        return asyncio.get_running_loop()

    with event_runner() as runner:
        assert isinstance(runner.run(loop()), uvloop.Loop)
