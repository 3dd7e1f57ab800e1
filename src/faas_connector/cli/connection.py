"""Which gateway a command talks to, as whom, and with which settings.

A flag goes before the environment (`OPENFAAS_URL`, then what the Go connectors read), that before a
file of settings, and this before the login that faas-cli stored. The stored login gives credentials
only, never the gateway's address: so does faas-cli.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from faas_connector.auth import BasicAuth, BearerToken, SecretFile
from faas_connector.cli.login import login_path, stored_login
from faas_connector.config import ControllerConfig
from faas_connector.errors import ConfigError
from faas_connector.settings.connector import GatewaySettings
from faas_connector.settings.general import General, general
from faas_connector.urls import check_gateway_url

DEFAULT_GATEWAY = "http://127.0.0.1:8080"
DEFAULT_USER = "admin"
_URL = ("gateway", "url")
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
    matcher: str | None = None


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
    settings: General | None = None,
) -> Connection:
    """Settings for a command that runs until it is stopped.

    Args:
        flags: the command line.
        environ: the environment.
        home: the user's home folder.
        folder: the current folder.
        read_password: gives what comes by standard input; called for `--password-stdin` only.
        settings: all others, those of a file among them; None for those of the environment.

    Raises:
        ConfigError: a setting can't work; the message names the flag, variable or file.
    """
    settings = settings or general(environ)
    said, gateway = settings.settings, settings.settings.gateway
    url, gateway_origin = _gateway(flags, environ, settings)
    auth = _auth_of_flags(flags, read_password)
    if auth is None:
        auth = _auth_of_others(environ, settings, url, login_path(environ, home, folder))
    config = replace(
        said.config(),
        gateway_url=url,
        auth=auth.value if auth else None,
        namespaces=flags.namespaces or said.namespaces or None,
        tls=_tls(flags, gateway) if urlsplit(url).scheme == "https" else None,
    )
    if flags.matcher is not None:
        config = replace(config, topic_matcher=flags.matcher)
    return Connection(
        config=config,
        gateway_origin=gateway_origin,
        auth_origin=auth.origin if auth else None,
    )


def impatient(config: ControllerConfig) -> ControllerConfig:
    """The same settings for a command that asks once: an unreachable gateway ends it early."""
    timeouts = replace(config.timeouts, connect=_PATIENCE, system=_PATIENCE)
    return replace(config, startup_timeout=_PATIENCE, timeouts=timeouts)


def _gateway(flags: GatewayFlags, environ: Mapping[str, str], settings: General) -> tuple[str, str]:
    said = settings.origins.get(_URL)
    # An empty flag, as `-g "$UNSET"` gives, must not send events to some other gateway.
    places = (
        ("--gateway", flags.gateway),
        ("$OPENFAAS_URL", environ.get("OPENFAAS_URL") or None),
        ("$gateway_url", environ.get("gateway_url") or None),
        (said or "", settings.settings.gateway.url if said else None),
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
    environ: Mapping[str, str], settings: General, url: str, logins: Path
) -> _FoundAuth | None:
    if auth := BasicAuth.from_env(environ):
        return _FoundAuth(auth, "$basic_auth and $secret_mount_path")
    if said := _auth_of_settings(settings):
        return said
    if login := stored_login(url, logins):
        return _FoundAuth(login, f"the login that faas-cli stored in {logins}")
    return None


def _auth_of_settings(found: General) -> _FoundAuth | None:
    gateway, origins = found.settings.gateway, found.origins
    if gateway.token is not None:
        where = origins["gateway", "token"]
        if gateway.password is not None or gateway.username is not None:
            raise ConfigError(f"{where}: gateway.token goes alone, without username and password")
        return _FoundAuth(BearerToken(gateway.token), where)
    if gateway.password is not None:
        auth = BasicAuth(gateway.username or DEFAULT_USER, gateway.password)
        return _FoundAuth(auth, origins["gateway", "password"])
    if gateway.username is not None:
        raise ConfigError(
            f"{origins['gateway', 'username']}: gateway.username needs a password; for example "
            "password_file: /var/openfaas/secrets/basic-auth-password"
        )
    return None


def _token(text: str) -> BearerToken:
    return BearerToken.from_file(text[1:]) if text.startswith("@") else BearerToken(text)


def _tls(flags: GatewayFlags, gateway: GatewaySettings) -> ssl.SSLContext | None:
    if flags.tls_no_verify or not gateway.tls_verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    file = flags.ca_file or gateway.ca_file
    if file is None:
        return None
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:  # ssl.SSLError is one
        where = "--ca-file" if flags.ca_file else "gateway.ca_file"
        reason = "no PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"{where}: can't use {str(file)!r} ({reason}); "
            "give a file of PEM certificates, for example /etc/ssl/certs/ca.pem"
        ) from error
