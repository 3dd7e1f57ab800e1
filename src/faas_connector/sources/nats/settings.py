"""What both sources of NATS can be told: where the servers are, and who we are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from faas_connector.auth import Secret
from faas_connector.errors import ConfigError
from faas_connector.matching import TopicMatcher
from faas_connector.options import Foreign, Seconds, option, settings
from faas_connector.sources.broker import BrokerSettings, check_login, ssl_context
from faas_connector.sources.checks import check_url, take_lists

_SCHEMES = ("nats", "tls", "ws", "wss")
_HOST_ONLY = Foreign("broker_host", lambda host: f"nats://{host}:4222")


@settings
class NatsSettings(BrokerSettings):
    """Where the servers are, and who we are."""

    name: str
    url: tuple[str, ...] = option(
        default=("nats://127.0.0.1:4222",), env=(_HOST_ONLY,), example="nats://nats.openfaas:4222"
    )
    """The servers, tried in any order; `tls://` for TLS."""
    token: Secret | None = option(default=None, flag="broker-token", shown=False)
    """The token, where the server asks for one."""
    nkey: Secret | None = option(default=None, shown=False)
    """The seed of an NKey (`SU…`), where the server knows its public key."""
    creds_file: Path | None = option(default=None, example="/var/openfaas/secrets/nats-creds")
    """A file of credentials (a JWT and its seed), as `nsc generate creds` writes it."""
    connect_timeout: Seconds = 5.0
    """For a server to accept us."""

    @property
    def servers(self) -> str:
        """As messages name them."""
        return ", ".join(self.url)


def check_nats(source: NatsSettings, kind: str) -> None:
    """Refuse settings that can't work.

    Raises:
        ConfigError: which, and a right example.
    """
    take_lists(source, "url")
    for url in source.url or ("",):
        check_url(url, f"{kind}.url", _SCHEMES, "nats://127.0.0.1:4222")
    check_login(source, kind)
    ssl_context(source, kind)
    try:
        if source.creds_file is not None:
            source.creds_file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{kind}.creds_file: {source.creds_file} can't be read ({error.strerror}); is it "
            "mounted, and may this user read it?"
        ) from None


def is_subject(text: str) -> bool:
    """Whether one may subscribe to it."""
    *before, last = text.split(".")
    return text.isprintable() and " " not in text and all(before) and bool(last) and (
        ">" not in before
    )  # fmt: skip


def wildcards(subjects: Sequence[str]) -> dict[str, Callable[[str], bool]]:
    """Those of some subjects that have wildcards, and what each matches."""
    wild = (each for each in subjects if {"*", ">"}.intersection(each.split(".")))
    return {each: partial(_is_like, each) for each in wild}


def _is_like(subject: str, topic: str) -> bool:
    return TopicMatcher.NATS(topic, subject)
