"""The library of NATS, as far as it is used here."""

from __future__ import annotations

import logging

from faas_connector.errors import MissingExtraError

try:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.errors import AuthorizationError, Error, NoRespondersError, SlowConsumerError
    from nats.js import JetStreamContext
    from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
    from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError
except ImportError as missing:
    raise MissingExtraError(
        "NATS needs its library; install it with: pip install 'faas-connector[nats]'"
    ) from missing

__all__ = [
    "APIError",
    "AckPolicy",
    "AuthorizationError",
    "Client",
    "ConsumerConfig",
    "ConsumerInfo",
    "DeliverPolicy",
    "Error",
    "JetStreamContext",
    "Msg",
    "NoRespondersError",
    "NotFoundError",
    "ServiceUnavailableError",
    "SlowConsumerError",
    "Subscription",
]

# It logs each failed attempt with its traceback; what matters of that is in our own error.
logging.getLogger("nats.aio.client").setLevel(logging.CRITICAL)
