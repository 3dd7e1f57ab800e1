"""What every source over HTTP can be told."""

from __future__ import annotations

import enum
from collections.abc import Callable

from faas_connector.auth import Secret
from faas_connector.errors import ConfigError
from faas_connector.options import Bytes, Seconds, option, settings
from faas_connector.serving.listener import address_of, is_loopback
from faas_connector.source import Guarantee, SourceTraits
from faas_connector.sources.checks import check_above_zero, take_members
from faas_connector.sources.webhook.access import Access, access_of
from faas_connector.sources.webhook.replies import ReplyWith
from faas_connector.sources.webhook.signatures import GITHUB, Encoding, Signature
from faas_connector.sources.webhook.topics import checked_base, checked_topics

_GITHUB_HEADERS = "X-GitHub-*"
_MIB = 1024 * 1024


class SignatureKind(enum.Enum):
    """Who signs."""

    NONE = "none"
    GITHUB = "github"
    HMAC = "hmac"
    """Anybody with an HMAC; the `signature_…` options say how."""


@settings
class HttpSettings:
    """Where a source listens, who may call it, what it answers."""

    listen: str = "127.0.0.1:9000"
    """`HOST:PORT`. Beyond loopback, callers must show credentials, or `open` be set."""
    path: str = "/"
    """The path that is served; a topic stands below it."""
    topics: tuple[str, ...] = option(default=(), env=("topics",), example="[payment.received]")
    """Topics that may be triggered."""
    topic_prefix: str = ""
    """Every topic that begins with it may be triggered; it is put before one that doesn't."""
    durable: bool = False
    """Whether an event is on disk before it is answered 202, and delivered from there."""
    reply: ReplyWith = ReplyWith.ACCEPTED
    """`accepted`: 202 once the event is safe (durable) or delivered; `verdict`: the function's
    status."""
    reply_timeout: Seconds = 30.0
    """After it a request that still waits is answered 503; its event goes on."""
    duplicate_window: Seconds = 0.0
    """For how long an event with a known id is answered, and not delivered again; 0 delivers all.
    Needs `durable`."""
    open_to_all: bool = option(default=False, key="open")
    """Whether anybody may call, though others reach it."""
    token: Secret | None = option(default=None, flag="caller-token", shown=False)
    """What a caller shows as `Authorization: Bearer TOKEN`; in a file, each line is valid."""
    token_header: str = "Authorization"  # noqa: S105 - a header's name
    """Another header that holds the token, and nothing else, for example `X-Gitlab-Token`."""
    user: str = option(default="", flag="caller")
    """The user of basic auth."""
    password: Secret | None = option(default=None, flag="caller-password", shown=False)
    """The password of basic auth; in a file, each line is valid."""
    signature: SignatureKind = SignatureKind.NONE
    """`github`, or `hmac` for any other; then the body must be signed with `secret`."""
    secret: Secret | None = option(default=None, shown=False)
    """The key of signatures; in a file, each line is valid."""
    secret_encoding: Encoding = Encoding.TEXT
    """How the key is written: `text`, `hex` or `base64`."""
    signature_header: str = "X-Signature-256"
    """With `hmac`: the header with the signature."""
    signature_algorithm: str = "sha256"
    """With `hmac`: sha1, sha256, sha384 or sha512."""
    signature_prefix: str = ""
    """With `hmac`: what stands before the signature, for example `sha256=`."""
    signature_encoding: Encoding = Encoding.HEX
    """With `hmac`: how the signature is written, `hex` or `base64`."""
    signature_separator: str = ""
    """With `hmac`: what stands between several values in the header."""
    signed: str = "{body}"
    """With `hmac`: what is signed; text with `{body}`, `{timestamp}`, `{header:NAME}`."""
    timestamp_header: str = ""
    """With `hmac`: the header with the signed time, in seconds since the epoch."""
    timestamp_prefix: str = ""
    """With `hmac`: what stands before the time in that header."""
    timestamp_tolerance: Seconds = 300.0
    """With `hmac`: how much the signed time may differ from ours."""
    headers: tuple[str, ...] = ()
    """Headers that go on to functions, with `*` for any text. With GitHub's signature
    `X-GitHub-*` do."""
    max_body: Bytes = _MIB
    """Of a request's body; a larger one is answered 413."""
    request_timeout: Seconds = 30.0
    """For a whole request to come, and for an idle connection to stay open."""
    max_connections: int = 16_384
    """Clients at a time; for a further one the one that has been idle longest is hung up on."""
    max_waiting: int = 10_000
    """Events that wait to be read; further ones are answered 503."""
    max_waiting_bytes: Bytes = 32 * _MIB
    """Of the bodies of such events."""


def patterns_of(prefix: str) -> dict[str, Callable[[str], bool]]:
    """The topics that a prefix lets through, for `check`."""
    return {f"{prefix}*": lambda topic: topic.startswith(prefix)} if prefix else {}


def http_traits(http: HttpSettings, connector: str) -> SourceTraits:
    """Who was not answered 202 may come again; nobody else does."""
    return SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, journal=http.durable, connector=connector)


def access_to(http: HttpSettings) -> Access:
    """Who may call.

    Raises:
        ConfigError: settings contradict each other.
    """
    return access_of(
        signature=_signature(http),
        secret=http.secret,
        secret_encoding=http.secret_encoding,
        token=http.token,
        token_header=http.token_header,
        user=http.user,
        password=http.password,
    )


def _signature(http: HttpSettings) -> Signature | None:
    if http.signature is SignatureKind.NONE:
        return None
    if http.signature is SignatureKind.GITHUB:
        return GITHUB
    return Signature(
        header=http.signature_header,
        algorithm=http.signature_algorithm,
        prefix=http.signature_prefix,
        encoding=http.signature_encoding,
        separator=http.signature_separator,
        signed=http.signed,
        timestamp_header=http.timestamp_header,
        timestamp_prefix=http.timestamp_prefix,
        tolerance=http.timestamp_tolerance,
    )


def check_http(http: HttpSettings, source: str) -> None:
    """Make names into members of their enumerations, and refuse what can't work.

    Args:
        http: the settings.
        source: what messages begin with.

    Raises:
        ConfigError: an option can't work, or leaves the source open to everybody by mistake.
    """
    _name_members(http, source)
    try:
        host, _ = address_of(http.listen)
        checked_base(http.path)
        checked_topics(http.topics, http.topic_prefix)
        access = access_to(http)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    check_above_zero(
        http, source, "reply_timeout", "request_timeout", "max_connections", "max_waiting"
    )
    if access.is_open and not http.open_to_all and not is_loopback(host):
        raise ConfigError(
            f"{source}.listen is {http.listen}, which others reach, and anybody may call it: set "
            "signature and secret_file, token_file, or user and password_file; or say "
            "open: true (--open)"
        )
    if http.durable and http.reply is ReplyWith.VERDICT:
        raise ConfigError(
            f"{source}.reply is verdict, and durable answers before there is one; leave out one"
        )
    if http.duplicate_window and not http.durable:
        raise ConfigError(
            f"{source}.duplicate_window needs durable: ids are remembered where events are kept"
        )


def _name_members(http: HttpSettings, source: str) -> None:
    take_members(
        http, source, reply=ReplyWith, signature=SignatureKind, secret_encoding=Encoding,
        signature_encoding=Encoding,
    )  # fmt: skip
    for name in ("topics", "headers"):
        value: object = getattr(http, name)
        if isinstance(value, str):
            raise ConfigError(
                f"{source}.{name} must be a list, got {value!r}; for example ({value!r},)"
            )
        object.__setattr__(http, name, tuple(getattr(http, name)))
    if http.signature is SignatureKind.GITHUB and _GITHUB_HEADERS not in http.headers:
        object.__setattr__(http, "headers", (_GITHUB_HEADERS, *http.headers))
