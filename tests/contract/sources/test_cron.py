"""Cron keeps the contract of a source that makes its events itself."""

import pytest

from faas_connector.sources.cron import CronSource
from faas_connector.testing.source_contract import SourceContract, Subject


class TestCron(SourceContract):
    quiet = 0.02
    library = "cronsim"
    pip_line = "pip install 'faas-connector[cron]'"

    @pytest.fixture
    def subject(self):
        source = CronSource(schedules={"contract": "* * * * * *"}, durable=False)
        return Subject(source=source, topic="contract")
