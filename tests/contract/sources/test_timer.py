"""The timer keeps the contract of a source that makes its events itself."""

import pytest

from faas_connector.sources.timer import TimerSource
from faas_connector.testing.source_contract import SourceContract, Subject


class TestTimer(SourceContract):
    quiet = 0.02

    @pytest.fixture
    def subject(self):
        return Subject(source=TimerSource(topic="contract", interval=0.02), topic="contract")


class TestSlowTimer(SourceContract):
    @pytest.fixture
    def subject(self):
        return Subject(source=TimerSource(topic="contract", interval=3600.0), topic="contract")
