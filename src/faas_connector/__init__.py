"""Event connectors for OpenFaaS: deliver every event to every function that asked for its topic.

    async with Controller(ControllerConfig(gateway_url="http://127.0.0.1:8080")) as controller:
        await controller.invoke("payment.received", b"hello")

`faas_connector.sync.Controller` is the same for programs without an event loop.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # the name is what type checkers look at; importing typing takes its time
if TYPE_CHECKING:
    from faas_connector._version import __version__ as __version__
    from faas_connector.auth import BasicAuth as BasicAuth
    from faas_connector.auth import BearerToken as BearerToken
    from faas_connector.config import ControllerConfig as ControllerConfig
    from faas_connector.config import Limits as Limits
    from faas_connector.config import OnFailure as OnFailure
    from faas_connector.config import Timeouts as Timeouts
    from faas_connector.config import Unmatched as Unmatched
    from faas_connector.contract import FunctionContract as FunctionContract
    from faas_connector.controller import Controller as Controller
    from faas_connector.errors import ConfigError as ConfigError
    from faas_connector.errors import ConnectorError as ConnectorError
    from faas_connector.errors import GatewayError as GatewayError
    from faas_connector.errors import TransportError as TransportError
    from faas_connector.event import Event as Event
    from faas_connector.headers import Headers as Headers
    from faas_connector.matching import TopicMatcher as TopicMatcher
    from faas_connector.names import FunctionName as FunctionName
    from faas_connector.names import Invocation as Invocation
    from faas_connector.response import InvokerResponse as InvokerResponse
    from faas_connector.response import LogResponses as LogResponses
    from faas_connector.retry import Backoff as Backoff
    from faas_connector.retry import RetryPolicy as RetryPolicy
    from faas_connector.runnables import Scoped as Scoped
    from faas_connector.running import run as run
    from faas_connector.source import Delivery as Delivery
    from faas_connector.source import Source as Source
    from faas_connector.source import SourceTraits as SourceTraits
    from faas_connector.topic_map import TopicMap as TopicMap

# The same for the running program. The module of a name is loaded when the name is asked for: most
# take long, and the command line starts without them.
_HOMES = {
    "Backoff": "retry",
    "BasicAuth": "auth",
    "BearerToken": "auth",
    "ConfigError": "errors",
    "ConnectorError": "errors",
    "Controller": "controller",
    "ControllerConfig": "config",
    "Delivery": "source",
    "Event": "event",
    "FunctionContract": "contract",
    "FunctionName": "names",
    "GatewayError": "errors",
    "Headers": "headers",
    "Invocation": "names",
    "InvokerResponse": "response",
    "Limits": "config",
    "LogResponses": "response",
    "OnFailure": "config",
    "RetryPolicy": "retry",
    "Scoped": "runnables",
    "Source": "source",
    "SourceTraits": "source",
    "Timeouts": "config",
    "TopicMap": "topic_map",
    "TopicMatcher": "matching",
    "TransportError": "errors",
    "Unmatched": "config",
    "__version__": "_version",
    "run": "running",
}


def _load(name: str) -> object:
    if name == "__all__":
        return list(_HOMES)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def _names() -> list[str]:
    return sorted({*globals(), *_HOMES, "__all__"})


if not TYPE_CHECKING:  # for type checkers there are the names above and no others
    __getattr__, __dir__ = _load, _names
