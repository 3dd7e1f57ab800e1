"""What is remembered of functions that are called."""

from types import SimpleNamespace

from faas_connector import invoker as module
from faas_connector.config import ControllerConfig
from faas_connector.contract import FunctionContract
from faas_connector.gateway.client import GatewayClient
from faas_connector.invoker import Invoker
from faas_connector.metrics import CallBook
from faas_connector.names import FunctionName
from faas_connector.subscriptions import Subscriptions
from faas_connector.topic_map import TopicMap

A, B, C = (FunctionName(name, "fn") for name in "abc")


def new_invoker(topic_map):
    config, maps = ControllerConfig(), SimpleNamespace(map=topic_map)
    return Invoker(GatewayClient(config), config, Subscriptions(config.limits), maps)


async def test_a_function_that_made_room_in_the_counts_is_counted_elsewhere():
    invoker = new_invoker(TopicMap([FunctionContract(C, ("orders",))]))
    invoker.calls = CallBook(2)
    known, gone = invoker.calls_of(C), invoker.calls_of(A)
    gone.delivered += 1
    invoker.calls_of(B)
    assert invoker.calls.others.delivered == 1
    assert invoker.calls_of(C) is known
    invoker.calls_of(A).delivered += 1
    assert invoker.calls.others.delivered + invoker.calls._by_name[A].delivered == 2


async def test_what_is_known_of_functions_is_forgotten_at_times(monkeypatch):
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 10)
    invoker = new_invoker(TopicMap())
    for number in range(35):
        function = FunctionName(f"f{number}", "fn")
        invoker.terms(function)
        invoker._awake.add(function)
        assert len(invoker._known) <= 10
        assert len(invoker._looked_up) <= 10
        assert len(invoker._awake) <= 10
