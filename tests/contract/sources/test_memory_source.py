"""The source in memory keeps the contract in each of its modes."""

import pytest

from faas_connector.source import Guarantee, Pausing, Settling, SourceTraits
from faas_connector.testing import MemorySource
from faas_connector.testing.source_contract import SourceContract, Subject


def subject_of(source):
    """Moves the broker of a source in memory."""

    async def publish(event):
        source.publish(event)

    async def interrupt():
        source.break_connection()

    refusing = MemorySource("memory")
    refusing.refusals = 1
    return Subject(
        source=source,
        publish=publish,
        interrupt=interrupt,
        unreachable=refusing,
        address="memory",
    )


class MemoryContract(SourceContract):
    quiet = 0.02
    delay = 0.05

    def source(self):
        return MemorySource()

    @pytest.fixture
    def subject(self):
        source = self.source()
        yield subject_of(source)
        assert source.violations == []


class TestIndividual(MemoryContract):
    pass


class TestKnowingLittle(MemoryContract):
    def source(self):
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
        return MemorySource(traits=traits, gives_positions=False, tells_redelivery=False)


class TestWithDeadlines(MemoryContract):
    def source(self):
        return MemorySource(deadline=0.5)


class TestWithFixedDeadlines(MemoryContract):
    def source(self):
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, replicas_share=True)
        return MemorySource(traits=traits, deadline=0.5)


class TestByPosition(MemoryContract):
    def source(self):
        traits = SourceTraits(
            guarantee=Guarantee.AT_LEAST_ONCE,
            settling=Settling.BY_POSITION,
            ordered=True,
            delays_nacks=True,
            replicas_share=True,
        )
        return MemorySource(traits=traits, partitions=3)


class TestAtMostOnce(MemoryContract):
    def source(self):
        traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, pausing=Pausing.CANNOT)
        return MemorySource(traits=traits, gives_positions=False, tells_redelivery=False)


class TestJournalled(MemoryContract):
    def source(self):
        traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, journal=True)
        return MemorySource(traits=traits, gives_positions=False)
