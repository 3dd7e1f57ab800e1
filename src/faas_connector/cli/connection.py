"""Which gateway a command talks to, as whom, and with which settings.

A flag goes before the environment (`OPENFAAS_URL`, then what the Go connectors read), and that
before the login that faas-cli stored. The stored login gives credentials only, never the
gateway's address: so does faas-cli.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from faas_connector.auth import BasicAuth, BearerToken, SecretFile
from faas_connector.cli.login import login_path, stored_login
from faas_connector.config import ControllerConfig, Timeouts
from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.names import Invocation
from faas_connector.urls import check_gateway_url

T = TypeVar("T")

DEFAULT_GATEWAY = "http://127.0.0.1:8080"
DEFAULT_USER = "admin"
_PATIENCE = 3.0  # s; with the start of the process, an unreachable gateway is given up within 5 s


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFlags:
    """What the user said about the gateway on the command line."""

    gateway: str | None = None
    username: str | None = None
    password_file: str | None = None
    password_stdin: bool = False
    token: str | None = None
    """The token, or `@FILE`."""
    namespaces: tuple[str, ...] = ()
    tls_no_verify: bool = False
    ca_file: str | None = None
    matcher: str = "exact"


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file of settings says about the gateway; flags and environment go before it."""

    gateway: str | None = None
    gateway_origin: str = ""
    auth: BasicAuth | BearerToken | None = None
    auth_origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The settings that hold, and where the gateway and the credentials were found."""

    config: ControllerConfig
    gateway_origin: str
    auth_origin: str | None
    """None where there are no credentials."""


@dataclass(frozen=True, slots=True)
class _FoundAuth:
    value: BasicAuth | BearerToken
    origin: str


def connection(
    flags: GatewayFlags,
    environ: Mapping[str, str],
    *,
    home: Path,
    folder: Path,
    read_password: Callable[[], str],
    config: ControllerConfig | None = None,
    stated: Stated | None = None,
) -> Connection:
    """Settings for a command that runs until it is stopped.

    Args:
        flags: the command line.
        environ: the environment.
        home: the user's home folder.
        folder: the current folder.
        read_password: gives what comes by standard input; called for `--password-stdin` only.
        config: all other settings; None for those of the environment and of `flags.matcher`.
        stated: what a file says.

    Raises:
        ConfigError: a setting can't work; the message names the flag, variable or file.
    """
    stated = stated or Stated()
    url, gateway_origin = _gateway(flags, environ, stated)
    auth = _auth_of_flags(flags, read_password)
    if auth is None:
        auth = _auth_of_others(environ, stated, url, login_path(environ, home, folder))
    if config is None:
        config = replace(environment_settings(environ), topic_matcher=flags.matcher)
    config = replace(
        config,
        gateway_url=url,
        auth=auth.value if auth else None,
        namespaces=flags.namespaces or None,
        tls=_tls(flags) if urlsplit(url).scheme == "https" else None,
    )
    return Connection(
        config=config,
        gateway_origin=gateway_origin,
        auth_origin=auth.origin if auth else None,
    )


def impatient(config: ControllerConfig) -> ControllerConfig:
    """The same settings for a command that asks once: an unreachable gateway ends it early."""
    timeouts = replace(config.timeouts, connect=_PATIENCE, system=_PATIENCE)
    return replace(config, startup_timeout=_PATIENCE, timeouts=timeouts)


def _gateway(flags: GatewayFlags, environ: Mapping[str, str], stated: Stated) -> tuple[str, str]:
    # An empty flag, as `-g "$UNSET"` gives, must not send events to some other gateway.
    places = (
        ("--gateway", flags.gateway),
        ("$OPENFAAS_URL", environ.get("OPENFAAS_URL") or None),
        ("$gateway_url", environ.get("gateway_url") or None),
        (stated.gateway_origin, stated.gateway),
    )
    given = ((url, origin) for origin, url in places if url is not None)
    url, origin = next(given, (DEFAULT_GATEWAY, "the default"))
    if _holds_credentials(url):
        raise ConfigError(
            f"{origin}: the URL must not hold a user or password; "
            "use -u and --password-file, or -s to read the password from standard input"
        )
    try:
        check_gateway_url(url)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None
    return url.rstrip("/"), origin


def _holds_credentials(url: str) -> bool:
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return False


def _auth_of_flags(flags: GatewayFlags, read_password: Callable[[], str]) -> _FoundAuth | None:
    if flags.token is not None:
        if flags.username or flags.password_file or flags.password_stdin:
            raise ConfigError("--token goes alone, without --username and a password")
        return _FoundAuth(_token(flags.token), "--token")
    if flags.password_file is not None and flags.password_stdin:
        raise ConfigError("give one password: --password-file or --password-stdin")
    user = flags.username or DEFAULT_USER
    if flags.password_file is not None:
        return _FoundAuth(BasicAuth(user, SecretFile(flags.password_file)), "--password-file")
    if flags.password_stdin:
        return _FoundAuth(BasicAuth(user, _given(read_password())), "--password-stdin")
    if flags.username is not None:
        raise ConfigError(
            "--username needs a password: --password-file FILE, or --password-stdin, "
            "for example: faas-connector topics -u admin -s < password.txt"
        )
    return None


def _given(password: str) -> str:
    if not password.strip():
        raise ConfigError("--password-stdin: standard input was empty; write the password into it")
    return password.strip()


def _auth_of_others(
    environ: Mapping[str, str], stated: Stated, url: str, logins: Path
) -> _FoundAuth | None:
    if auth := BasicAuth.from_env(environ):
        return _FoundAuth(auth, "$basic_auth and $secret_mount_path")
    if stated.auth:
        return _FoundAuth(stated.auth, stated.auth_origin)
    if login := stored_login(url, logins):
        return _FoundAuth(login, f"the login that faas-cli stored in {logins}")
    return None


def _token(text: str) -> BearerToken:
    return BearerToken.from_file(text[1:]) if text.startswith("@") else BearerToken(text)


def _tls(flags: GatewayFlags) -> ssl.SSLContext | None:
    if flags.tls_no_verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if flags.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=flags.ca_file)
    except OSError as error:  # ssl.SSLError is one
        reason = "no PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"--ca-file: can't use {flags.ca_file!r} ({reason}); "
            "give a file of PEM certificates, for example /etc/ssl/certs/ca.pem"
        ) from error


def environment_settings(environ: Mapping[str, str]) -> ControllerConfig:
    """The settings that the Go connectors read from the environment, under the same names.

    They are `rebuild_interval`, `upstream_timeout`, `topic_delimiter`, `content_type` and
    `asynchronous_invocation`. An empty variable counts as not set, except `topic_delimiter`,
    where it means that nothing separates topics.

    Raises:
        ConfigError: a value can't be read; the message names the variable.
    """
    default = ControllerConfig()
    config = replace(
        default,
        rebuild_interval=_read(
            environ, "rebuild_interval", _positive_duration, default.rebuild_interval
        ),
        topic_delimiter=environ.get("topic_delimiter", default.topic_delimiter),
        invocation=_read(environ, "asynchronous_invocation", _invocation, default.invocation),
        timeouts=Timeouts(
            call=_read(environ, "upstream_timeout", _positive_duration, default.timeouts.call)
        ),
    )
    if content_type := environ.get("content_type"):
        config = replace(config, content_type=content_type)
    return config


def _read(environ: Mapping[str, str], name: str, parse: Callable[[str], T], default: T) -> T:
    text = environ.get(name)
    if not text:
        return default
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"the environment variable {name}: {error}") from None


def _positive_duration(text: str) -> float:
    seconds = parse_duration(text)
    if not seconds:
        raise ConfigError(f"{text!r} is no time to wait; write for example '30s'")
    return seconds


def _invocation(text: str) -> Invocation:
    # The Go connectors take exactly "true" and "1" for yes, and all else for no without a word.
    if text in {"true", "1"}:
        return Invocation.ASYNC
    if text in {"false", "0"}:
        return Invocation.SYNC
    raise ConfigError(f"{text!r} is neither true nor false; write 'true' or 'false'")
