"""What both sources of NATS share: where the servers are, who we are, and one connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from faas_connector.auth import Secret, text_of
from faas_connector.errors import ConfigError, MissingExtraError, SourceError
from faas_connector.matching import TopicMatcher
from faas_connector.options import Foreign, Seconds, option, settings
from faas_connector.source import Session
from faas_connector.sources.checks import take_lists
from faas_connector.sources.fields import fields
from faas_connector.sources.tls import TlsSettings, ssl_context
from faas_connector.sources.whole import whole
from faas_connector.urls import mask_url

try:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.errors import AuthorizationError, Error, SlowConsumerError
except ImportError as missing:
    raise MissingExtraError(
        "NATS needs its library; install it with: pip install 'faas-connector[nats]'"
    ) from missing

__all__ = [
    "Client",
    "Error",
    "Inbox",
    "Msg",
    "NatsSettings",
    "Subscription",
    "check_nats",
    "connected",
    "headers_of",
    "wildcards",
]

# It logs each failed attempt with its traceback; what matters of that is in our own error.
logging.getLogger("nats.aio.client").setLevel(logging.CRITICAL)

_PENDING = 2 * 1024 * 1024
# Seconds in which a connection must be closed.
_CLOSING = 1.0
_SCHEMES = ("nats", "tls", "ws", "wss")
_HOST_ONLY = Foreign("broker_host", lambda host: f"nats://{host}:4222")


@settings
class NatsSettings(TlsSettings):
    """Where the servers are, and who we are."""

    name: str
    url: tuple[str, ...] = option(
        default=("nats://127.0.0.1:4222",), env=(_HOST_ONLY,), example="nats://nats.openfaas:4222"
    )
    """The servers, tried in any order; `tls://` for TLS."""
    user: str = option(default="", flag="broker-user")
    """The user, where the server asks for one."""
    password: Secret | None = option(default=None, flag="broker-password", shown=False)
    """The user's password."""
    token: Secret | None = option(default=None, flag="broker-token", shown=False)
    """The token, where the server asks for one."""
    nkey: Secret | None = option(default=None, shown=False)
    """The seed of an NKey (`SU…`), where the server knows its public key."""
    creds_file: Path | None = option(default=None, example="/etc/nats/connector.creds")
    """A file of credentials (a JWT and its seed), as `nsc generate creds` writes it."""
    connect_timeout: Seconds = 5.0
    """For a server to accept us."""


def check_nats(source: NatsSettings, kind: str) -> None:
    """Refuse settings that can't work.

    Raises:
        ConfigError: which, and a right example.
    """
    take_lists(source, "url")
    for url in source.url or ("",):
        parts = urlsplit(url)
        if "@" in url:
            raise ConfigError(
                f"{kind}.url must not hold credentials, got {mask_url(url)!r}; use user and "
                "password_file, or token_file"
            )
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ConfigError(f"{kind}.url is {url!r}; for example nats://127.0.0.1:4222")
    if bool(source.user) != (source.password is not None):
        raise ConfigError(
            f"{kind}: user and password belong together; for example user: connector with "
            "password_file: /var/openfaas/secrets/nats-password"
        )
    ssl_context(source, kind)


def wildcards(subjects: Sequence[str]) -> dict[str, Callable[[str], bool]]:
    """Those of some subjects that have wildcards, and what each matches."""
    wild = (each for each in subjects if {"*", ">"}.intersection(each.split(".")))
    return {each: partial(_is_like, each) for each in wild}


def _is_like(subject: str, topic: str) -> bool:
    return TopicMatcher.NATS(topic, subject)


class Inbox:
    """What came and was not read yet, and whether more is to be expected."""

    def __init__(self, name: str, servers: str) -> None:
        self.messages: deque[Msg] = deque()
        self.bytes = 0
        self.error: SourceError | None = None
        self.stopping = False
        self.name = name
        self._servers = servers
        self._changed = asyncio.Event()

    def fail(self, reason: object) -> None:
        """Nothing more can come."""
        if self.error is None:
            self.error = SourceError(f"{self.name}: {self._servers}: {reason}")
        self._changed.set()

    def put(self, message: Msg) -> None:
        self.messages.append(message)
        self.bytes += len(message.data)
        self._changed.set()

    def take(self) -> Msg:
        """The oldest."""
        message = self.messages.popleft()
        self.bytes -= len(message.data)
        return message

    def wake(self) -> None:
        """Something changed that a reader has to look at."""
        self._changed.set()

    async def change(self) -> None:
        """Wait until something changed since this was called last.

        Raises:
            SourceError: nothing more can come.
        """
        await self._changed.wait()
        self._changed.clear()
        self.check()

    def check(self) -> None:
        """Raise what makes this session useless.

        Raises:
            SourceError: nothing more can come.
        """
        if self.error is not None:
            raise self.error

    async def until_stopped(self, session: Session) -> None:
        await session.stopping.wait()
        self.stopping = True
        self.wake()


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
async def connected(source: NatsSettings, session: Session) -> AsyncGenerator[tuple[Client, Inbox]]:
    """A connection; when it is lost, the inbox says so. What was sent is sent before it closes.

    Raises:
        SourceError: no server can be reached, or it refuses us.
    """
    name = source.name
    inbox = Inbox(name, ", ".join(source.url))
    client = _Client()
    stopped = asyncio.create_task(inbox.until_stopped(session), name=f"stop {name}")
    try:
        await whole(_connect(client, source, inbox, session), f"{name}: connect")
        yield client, inbox
        if client.is_connected:
            with contextlib.suppress(Error, TimeoutError, SourceError):
                await whole(client.flush(timeout=5), f"{name}: flush")
    finally:
        stopped.cancel()
        closing = asyncio.create_task(_closed(client), name=f"close {name}")
        await asyncio.wait([stopped, closing], timeout=_CLOSING)
        closing.cancel()  # after a failed handshake of TLS, the library waits for ever
        await asyncio.wait([closing], timeout=_CLOSING)


async def _closed(client: Client) -> None:
    with contextlib.suppress(Error, OSError):
        await client.close()


async def _connect(client: _Client, source: NatsSettings, inbox: Inbox, session: Session) -> None:
    last: Exception | None = None

    async def erred(error: Exception) -> None:
        nonlocal last
        last = error
        if isinstance(error, SlowConsumerError):
            session.drop(1, "came faster than they could be taken: run more connectors")
        elif client.is_connected and "permissions violation" in str(error).lower():
            inbox.fail(f"{error}; allow this user to do so")

    async def lost() -> None:
        inbox.fail("the connection was lost")

    tls = any(url.startswith(("tls:", "wss:")) for url in source.url)
    context = ssl_context(source, inbox.name, implied=tls)
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
        raise _refused(source, inbox, last or error) from None


def _given(secret: Secret | None) -> str | None:
    return None if secret is None else text_of(secret)


def _refused(source: NatsSettings, inbox: Inbox, error: Exception) -> SourceError:
    """What to say of a failed attempt: never more than the kind of an error that may hold keys."""
    if isinstance(error, AuthorizationError) or "authorization" in str(error).lower():
        inbox.fail("the server refuses user, password, token or key; are they right?")
    elif isinstance(error, TimeoutError):
        inbox.fail(f"no answer within {source.connect_timeout} s; is it a NATS server?")
    elif isinstance(error, OSError) and error.filename is not None:
        inbox.fail(f"can't read {error.filename} ({error.strerror}); is creds_file right?")
    elif isinstance(error, OSError | Error):
        inbox.fail(f"can't connect ({' '.join(str(error).split())}); is the server up?")
    else:
        inbox.fail(f"can't connect ({type(error).__name__}); are nkey and creds_file right?")
    assert inbox.error is not None  # noqa: S101
    return inbox.error


def headers_of(message: Msg, **own: str) -> dict[str, str]:
    """The call's header fields: our own as `X-Nats-…`, the message's as `X-Nats-Header-…`."""
    sent: Mapping[str, Any] = message.headers or {}
    ours = {name.replace("_", "-"): value for name, value in own.items()}
    return fields("X-Nats-", ours, ((f"Header-{name}", str(value)) for name, value in sent.items()))
