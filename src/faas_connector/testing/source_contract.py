"""The contract that every source keeps: subclass `SourceContract`, and give it a `subject`.

    class TestOrders(SourceContract):
        header_prefix = "X-Orders-"

        @pytest.fixture
        async def subject(self):
            async with OrdersServer() as server:
                yield Subject(
                    source=OrdersSource(url=server.url),
                    publish=server.publish,
                    interrupt=server.restart,
                    unreachable=OrdersSource(url="orders://me:secret@127.0.0.1:1"),
                    address="127.0.0.1:1",
                    password="secret",
                )

Tests that don't apply to a source with such traits are skipped, and name the trait. It needs
pytest and pytest-asyncio.
"""

from __future__ import annotations

from faas_connector.testing.contract_engine import EngineContract
from faas_connector.testing.contract_failing import FailingContract
from faas_connector.testing.contract_kit import Subject, pytest
from faas_connector.testing.contract_reading import ReadingContract
from faas_connector.testing.contract_settling import SettlingContract

__all__ = ["SourceContract", "Subject"]


@pytest.mark.asyncio
class SourceContract(ReadingContract, SettlingContract, FailingContract, EngineContract):
    """Every test; what it needs to know of a source stands in its class attributes."""
