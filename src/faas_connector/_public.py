"""The names of `faas_connector`: a new one stands here, and in the test that pins them."""

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
