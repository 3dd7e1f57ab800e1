"""The contract suite: what each of its parts builds on."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from faas_connector.event import Event
from faas_connector.source import Guarantee
from faas_connector.testing.contract_kit import Reading, Subject, check, needs, opened, pytest

MEBIBYTE = 1_048_576
# Events of one key, so that a source with partitions keeps them together.
KEY = "contract"


class ContractBase:
    """What a suite says of its source, and how its tests read it."""

    patience: ClassVar[float] = 30.0
    """Seconds in which what has to happen must have happened."""
    quiet: ClassVar[float] = 0.2
    """Seconds without an event after which none is expected any more: above the time that one takes
    to come, and below that after which the broker redelivers what is unsettled."""
    delay: ClassVar[float] = 0.2
    """Seconds that a delayed `nack` asks for."""
    max_body: ClassVar[int] = MEBIBYTE
    """Bytes that an event may have; larger bodies are left out."""
    header_prefix: ClassVar[str | None] = ""
    """What stands before the name of a publisher's header; None where there are no headers."""
    library: ClassVar[str | None] = None
    """The module that an extra brings."""
    pip_line: ClassVar[str] = ""
    """How the error names the extra, for example `pip install 'faas-connector[nats]'`."""

    @pytest.fixture
    def subject(self) -> Subject:
        """The source under test; every suite gives its own."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture named 'subject'")

    # Tools

    def reading(self, subject: Subject) -> AbstractAsyncContextManager[Reading]:
        return opened(subject.source, {subject.topic}, self.patience)

    async def publish(
        self,
        subject: Subject,
        *some: bytes,
        event_id: str | None = None,
        key: str = KEY,
        headers: dict[str, str] | None = None,
    ) -> None:
        if subject.publish is None:
            pytest.skip(f"{subject.source.name}: does not apply to a source that makes its events")
        for body in some:
            event = Event(subject.topic, body, headers or {}, id=event_id, key=key)
            await subject.publish(event)

    async def expect_rest(self, subject: Subject, expected: Collection[bytes], why: str) -> None:
        """Fail unless exactly these come in a new session."""
        async with self.reading(subject) as reading:
            if expected:
                await reading.until(*expected)
            await reading.rest(self.quiet)
            found = {delivery.event.data for delivery in reading.seen}
        check(found == set(expected), f"{why}; a new session got {sorted(found)}")

    def needs_redelivery(self, subject: Subject) -> None:
        guarantee = subject.source.traits.guarantee
        needs(
            subject,
            f"traits.guarantee {guarantee.value}",
            met=guarantee is Guarantee.AT_LEAST_ONCE,
        )
