"""One connection to NATS, and what is the same for all that comes over it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from faas_connector.auth import Secret, text_of
from faas_connector.errors import SourceError
from faas_connector.inbox import Inbox
from faas_connector.source import Delivery
from faas_connector.sources.broker import ssl_context
from faas_connector.sources.fields import fields
from faas_connector.sources.library import one_line, whole
from faas_connector.sources.nats.library import (
    AuthorizationError,
    Client,
    Error,
    Msg,
    SlowConsumerError,
)
from faas_connector.sources.nats.settings import NatsSettings

T = TypeVar("T", bound=Delivery)

_PENDING = 2 * 1024 * 1024
# Seconds in which a connection must be closed.
_CLOSING = 1.0


class _Client(Client):
    """Shows no credentials to a server that offers no TLS where we ask for it.

    And its flush tells that what was sent before has arrived: the library's ping overtakes it.
    """

    tls_only = False

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        future = future or asyncio.get_running_loop().create_future()
        self._pongs.append(future)  # pyright: ignore[reportUnknownMemberType]
        await self._send_command(b"PING\r\n")
        await self._flush_pending()

    def _connect_command(self) -> bytes:
        if self.tls_only and not self._server_info.get("tls_required"):
            raise Error("the server offers no TLS")
        return super()._connect_command()


@asynccontextmanager
async def connected(
    source: NatsSettings, inbox: Inbox[T], drop: Callable[[int, str], None]
) -> AsyncGenerator[Client]:
    """A connection; when it is lost, the inbox says so. What was sent is sent before it closes.

    Args:
        source: where to, and as whom.
        inbox: is told when nothing more can come.
        drop: is told of events that the library had to drop.

    Raises:
        SourceError: no server can be reached, or it refuses us.
    """
    name = source.name
    client = _Client()
    try:
        await whole(_connect(client, source, inbox, drop), f"{name}: connect")
        yield client
        if client.is_connected:
            with contextlib.suppress(Error, TimeoutError, SourceError):
                await whole(client.flush(timeout=5), f"{name}: flush")
    finally:
        closing = asyncio.create_task(_closed(client), name=f"close {name}")
        await asyncio.wait([closing], timeout=_CLOSING)
        closing.cancel()  # after a failed handshake of TLS, the library waits for ever
        await asyncio.wait([closing], timeout=_CLOSING)


async def _closed(client: Client) -> None:
    with contextlib.suppress(Error, OSError):
        await client.close()


async def _connect(
    client: _Client, source: NatsSettings, inbox: Inbox[T], drop: Callable[[int, str], None]
) -> None:
    last: Exception | None = None

    async def erred(error: Exception) -> None:
        nonlocal last
        last = error
        if isinstance(error, SlowConsumerError):
            drop(1, "came faster than they could be taken: run more connectors")
        elif client.is_connected and "permissions violation" in str(error).lower():
            inbox.fail(f"{str(error).removeprefix('nats: ')}; allow this user to do so")

    async def lost() -> None:
        inbox.fail("the connection was lost")

    tls = any(url.startswith(("tls:", "wss:")) for url in source.url)
    context = ssl_context(source, source.name, implied=tls)
    client.tls_only = context is not None
    wait = max(1, round(source.connect_timeout))
    try:
        async with asyncio.timeout(source.connect_timeout * len(source.url) + 1.0):
            await client.connect(
                list(source.url), name="faas-connector", error_cb=erred, closed_cb=lost,
                allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0,
                connect_timeout=wait, ping_interval=20, pending_size=_PENDING, tls=context,
                user=source.user or None, password=_given(source.password),
                token=_given(source.token), nkeys_seed_str=_given(source.nkey),
                user_credentials=None if source.creds_file is None else str(source.creds_file),
            )  # fmt: skip
    except Exception as error:
        reason = _why_refused(source, last or error)
        raise SourceError(f"{inbox.label}: {reason}") from None


def _given(secret: Secret | None) -> str | None:
    return None if secret is None else text_of(secret)


def _why_refused(source: NatsSettings, error: Exception) -> str:
    """What to say of a failed attempt: never more than the kind of an error that may hold keys."""
    if isinstance(error, AuthorizationError) or "authorization" in str(error).lower():
        return "the server refuses user, password, token or key; are they right?"
    if isinstance(error, TimeoutError):
        return f"no answer within {source.connect_timeout} s; is it a NATS server?"
    if isinstance(error, OSError) and error.filename is not None:
        return f"can't read {error.filename} ({error.strerror}); is creds_file right?"
    if isinstance(error, OSError | Error):
        return f"can't connect ({one_line(error)}); is the server up, and is TLS as it wants it?"
    return f"can't connect ({type(error).__name__}); are nkey and creds_file right?"


def headers_of(message: Msg, own: Mapping[str, str | None]) -> dict[str, str]:
    """The call's header fields: our own as `X-Nats-…`, the message's as `X-Nats-Header-…`."""
    sent: Mapping[str, Any] = message.headers or {}
    return fields("X-Nats-", own, ((f"Header-{name}", str(value)) for name, value in sent.items()))
