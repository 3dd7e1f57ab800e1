"""The names of `faas_connector`: a new one stands here, and in the test that pins them."""

from faas_connector._version import __version__
from faas_connector.auth import BasicAuth, BearerToken
from faas_connector.config import ControllerConfig, Limits, OnFailure, Timeouts, Unmatched
from faas_connector.contract import FunctionContract
from faas_connector.controller import Controller
from faas_connector.errors import ConfigError, ConnectorError, GatewayError, TransportError
from faas_connector.event import Event
from faas_connector.headers import Headers
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName, Invocation
from faas_connector.response import InvokerResponse, LogResponses
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.running import run
from faas_connector.source import Delivery, Source, SourceTraits
from faas_connector.supervisor import Scoped
from faas_connector.topic_map import TopicMap

__all__ = [
    "Backoff",
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
    "OnFailure",
    "RetryPolicy",
    "Scoped",
    "Source",
    "SourceTraits",
    "Timeouts",
    "TopicMap",
    "TopicMatcher",
    "TransportError",
    "Unmatched",
    "__version__",
    "run",
]
