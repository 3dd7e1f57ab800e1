"""What the cron source hands out, by a clock that the test sets."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from tests.brokers.harness import eventually

from faas_connector import ControllerConfig, FunctionName
from faas_connector.sources.cron import CronSource, Overlap
from faas_connector.terms import declared_contract
from faas_connector.testing.contract_kit import ContractSession

BEGIN = datetime(2025, 6, 1, 12, 0, tzinfo=UTC).timestamp()


class Session(ContractSession):
    """One with functions."""

    def __init__(self, **functions):
        super().__init__(())
        config = ControllerConfig()
        self._functions = tuple(
            declared_contract(FunctionName(name, "ns"), annotations, config)
            for name, annotations in functions.items()
        )

    def functions(self):
        return self._functions


class Desk:
    """A cron source that is open, its clock, and what it has handed out."""

    def __init__(self):
        self.now = BEGIN
        self.looks = 0
        self.seen = []

    def clock(self):
        self.looks += 1
        return self.now

    async def read(self, deliveries):
        async for delivery in deliveries:
            self.seen.append(delivery)

    async def pass_by(self, seconds=0.0):
        """Let time pass, and the source see it."""
        self.now += seconds
        looks = self.looks
        await eventually(lambda: self.looks > looks + 4)

    def seconds(self):
        """The scheduled times of what was handed out, after the beginning."""
        return [delivery.event.time.timestamp() - BEGIN for delivery in self.seen]


@asynccontextmanager
async def opened(session=None, **options):
    desk, session = Desk(), session or Session()
    source = CronSource(clock=desk.clock, **{"catch_up": 0.0, **options})
    async with source.open(session) as deliveries:
        reading = asyncio.create_task(desk.read(deliveries))
        try:
            await desk.pass_by()
            yield desk
        finally:
            session.stopping.set()
            await reading


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch):
    monkeypatch.setattr("faas_connector.sources.cron.source._LOOK", 0.005)


EVERY_SECOND = {"tick": "* * * * * *"}


@pytest.mark.parametrize(
    ("overlap", "handed_out", "after_the_first"),
    [
        (Overlap.ALLOW, [1, 2, 3], [1, 2, 3, 4]),
        (Overlap.SKIP, [1], [1, 4]),
        (Overlap.QUEUE, [1], [1, 2]),
    ],
)
async def test_what_overlaps(overlap, handed_out, after_the_first, caplog):
    async with opened(schedules=EVERY_SECOND, overlap=overlap) as desk:
        for _ in range(3):
            await desk.pass_by(1.0)
        assert desk.seconds() == handed_out
        desk.seen[0].ended()
        await desk.pass_by(1.0)
        assert desk.seconds() == after_the_first
        if overlap is Overlap.QUEUE:  # each waits for the one before
            for count in (3, 4):
                desk.seen[-1].ended()
                await desk.pass_by()
                assert len(desk.seen) == count
    assert caplog.text.count("is skipped at") == (2 if overlap is Overlap.SKIP else 0)


async def test_another_schedule_is_no_overlap():
    schedules = {"a": "* * * * * *; */2 * * * * *", "b": "* * * * * *"}
    async with opened(schedules=schedules, overlap=Overlap.SKIP) as desk:
        await desk.pass_by(2.0)
        assert sorted(delivery.event.topic for delivery in desk.seen) == ["a", "a", "b"]


async def test_a_queue_is_bounded(monkeypatch, caplog):
    monkeypatch.setattr("faas_connector.sources.cron.source._MOST_QUEUED", 2)
    async with opened(schedules=EVERY_SECOND, overlap=Overlap.QUEUE) as desk:
        await desk.pass_by(5.0)
        for _ in range(3):
            desk.seen[-1].ended()
            await desk.pass_by()
        assert desk.seconds() == [1, 2, 3]
    assert caplog.text.count("is skipped at") == 2


async def test_jitter_puts_a_firing_off():
    async with opened(schedules={"tick": "* * * * *"}, jitter=4.0) as desk:
        assert desk.seconds() == []
        await desk.pass_by(4.0)
        assert desk.seconds() == [0.0]
        await desk.pass_by(56.0)
        assert desk.seconds() == [0.0]
        await desk.pass_by(4.0)
        assert desk.seconds() == [0.0, 60.0]


async def test_schedules_of_functions():
    session = Session(
        both={"topic": "cron-function", "schedule": "* * * * *; CRON_TZ=Asia/Tokyo 1 21 * * *"},
        pro={"topic": "com.openfaas.cron", "schedule": "1 14 * * *"},
        other={"topic": "orders", "schedule": "* * * * *"},
    )
    options = {"time_zone": "Europe/Berlin", "payload": "{}", "content_type": "application/json"}
    async with opened(session, **options) as desk:
        await desk.pass_by(60.0)
        found = {
            (
                str(delivery.function),
                delivery.event.topic,
                delivery.event.headers["X-Cron-Schedule"],
                delivery.event.headers["X-Cron-Scheduled-Time"],
            )
            for delivery in desk.seen
        }
        assert found == {
            ("both.ns", "cron-function", "* * * * *", "2025-06-01T14:01:00+02:00"),
            (
                "both.ns",
                "cron-function",
                "CRON_TZ=Asia/Tokyo 1 21 * * *",
                "2025-06-01T21:01:00+09:00",
            ),
            ("pro.ns", "com.openfaas.cron", "1 14 * * *", "2025-06-01T14:01:00+02:00"),
        }
        assert {(each.event.data, each.event.content_type) for each in desk.seen} == {
            (b"{}", "application/json")
        }


async def test_schedules_of_topics():
    schedules = {"reports": "1 14 * * *", "tick": "@every 60s", "not now": "1 12 * * *"}
    options = {"time_zone": "Europe/Berlin", "payloads": {"reports": '{"kind": "daily"}'}}
    async with opened(schedules=schedules, **options) as desk:
        await desk.pass_by(60.0)
        assert {each.event.topic: each.event.data for each in desk.seen} == {
            "reports": b'{"kind": "daily"}',
            "tick": b"",
        }
        assert {each.function for each in desk.seen} == {None}
        assert {each.event.content_type for each in desk.seen} == {None}
