"""Event connectors for OpenFaaS: deliver every event to every function that asked for its topic.

    async with Controller(ControllerConfig(gateway_url="http://127.0.0.1:8080")) as controller:
        await controller.invoke("payment.received", b"hello")

`faas_connector.sync.Controller` is the same for programs without an event loop.
"""

from faas_connector._version import __version__
from faas_connector.auth import BasicAuth, BearerToken
from faas_connector.config import ControllerConfig, Limits, Timeouts
from faas_connector.contract import FunctionContract
from faas_connector.controller import Controller
from faas_connector.errors import ConfigError, ConnectorError, GatewayError, TransportError
from faas_connector.event import Event
from faas_connector.headers import Headers
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName, Invocation
from faas_connector.response import InvokerResponse, LogResponses
from faas_connector.retry import RetryPolicy
from faas_connector.source import Delivery, Source
from faas_connector.topic_map import TopicMap

__all__ = [
    "BasicAuth",
    "BearerToken",
    "ConfigError",
    "ConnectorError",
    "Controller",
    "ControllerConfig",
    "Delivery",
    "Event",
    "FunctionContract",
    "FunctionName",
    "GatewayError",
    "Headers",
    "Invocation",
    "InvokerResponse",
    "Limits",
    "LogResponses",
    "RetryPolicy",
    "Source",
    "Timeouts",
    "TopicMap",
    "TopicMatcher",
    "TransportError",
    "__version__",
]
