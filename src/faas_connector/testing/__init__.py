"""For tests of your own connector: a gateway with functions that you define in the test.

    from faas_connector.testing import Fault, LocalFunction, LocalGateway

    async def test_my_connector():
        printer = LocalFunction(name="printer", annotations={"topic": "payment.received"})
        async with LocalGateway(functions=[printer]) as gateway:
            ...  # run the connector against gateway.url
            [call] = await gateway.wait_received(1)
            assert call.body == b"hello"

It needs no pytest; the fixtures do: `pytest_plugins = ["faas_connector.testing.plugin"]`.
"""

from faas_connector.local.calls import FinishedCall, Received
from faas_connector.local.definition import LocalFunction
from faas_connector.local.faults import Fault
from faas_connector.local.function import Answer, Call, FunctionAbortedError
from faas_connector.local.gateway import LocalGateway
from faas_connector.serving.connection import ServerLimits
from faas_connector.serving.listener import PortInUseError
from faas_connector.testing.fault_proxy import Cut, FaultProxy, Way
from faas_connector.testing.memory_broker import MemoryDelivery
from faas_connector.testing.memory_source import MemorySource
from faas_connector.testing.threaded import ThreadedGateway

__all__ = [
    "Answer",
    "Call",
    "Cut",
    "Fault",
    "FaultProxy",
    "FinishedCall",
    "FunctionAbortedError",
    "LocalFunction",
    "LocalGateway",
    "MemoryDelivery",
    "MemorySource",
    "PortInUseError",
    "Received",
    "ServerLimits",
    "ThreadedGateway",
    "Way",
]
