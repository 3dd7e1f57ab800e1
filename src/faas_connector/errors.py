"""Every error of this package.

    ConnectorError
     +- ConfigError (also a ValueError)        a setting, annotation or file that can't work
     +- MissingExtraError (also an ImportError) an optional library isn't installed
     +- BlockingCallError (also a RuntimeError) a blocking call where it would deadlock
     +- SourceError                            a source can't connect, read or settle
     +- StoreError                             the pending store can't read or write
     |   +- StoreFullError                     its size limit leaves no room for the event
     |   +- StoreLockedError                   another run uses its folder
     |   +- StoreVersionError                  a newer version of this package wrote it
     +- GatewayError                           asking the gateway about its functions failed
     |   +- GatewayUnavailableError            no answer
     |   +- GatewayAuthError                   401 or 403
     |   +- GatewayResponseError               an answer that no OpenFaaS gateway gives
     +- TransportError                         a request that got no complete answer
         +- ConnectError                       no connection (refused, unknown host, TLS)
         +- CallTimeoutError (also a TimeoutError)
         +- ConnectionLostError                hung up before or within the answer
         +- ProtocolError                      the answer is no HTTP/1.1
         +- ResponseTooLargeError              the answer is over the size limit

Messages are one line: what, where, why and the next step. No message holds a secret.
"""

from __future__ import annotations

import functools


class ConnectorError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(ConnectorError, ValueError):
    """A setting that can't work: the message names the field, the value and a right example."""


class MissingExtraError(ConnectorError, ImportError):
    """An optional library isn't installed: the message holds the pip line."""


class BlockingCallError(ConnectorError, RuntimeError):
    """A blocking call was made from the thread that would have to answer it."""


class SourceError(ConnectorError):
    """A source can't connect, read or settle."""


class StoreError(ConnectorError):
    """The pending store can't read or write; nothing that it did not confirm is in it."""


class StoreFullError(StoreError):
    """The journal is at its size limit; the event was not taken."""


class StoreLockedError(StoreError):
    """Another run uses the folder of the store."""


class StoreVersionError(StoreError):
    """The store was written by a newer version; it was left as it is."""


class GatewayError(ConnectorError):
    """The gateway could not be asked about its functions."""


class GatewayUnavailableError(GatewayError):
    """The gateway gave no answer."""


class GatewayAuthError(GatewayError):
    """The gateway refused the credentials (401), or what they may do (403)."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """None where `auth` gave no credentials, so that the gateway was not asked."""


class GatewayResponseError(GatewayError):
    """The gateway's answer is none that an OpenFaaS gateway gives, or reports its own trouble."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        """How to copy it, and hand it from one process to another."""
        return functools.partial(type(self), status=self.status), self.args


class TransportError(ConnectorError):
    """A request got no complete answer; the function may have run or not."""


class ConnectError(TransportError):
    """No connection could be made; nothing was sent."""


class CallTimeoutError(TransportError, TimeoutError):
    """The answer was not complete in time."""


class ConnectionLostError(TransportError):
    """The peer hung up before the answer was complete."""


class ProtocolError(TransportError):
    """What the peer sent is no HTTP/1.1."""


class ResponseTooLargeError(TransportError):
    """The answer is larger than `limits.max_response_bytes`."""
