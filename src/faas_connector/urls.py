"""URLs that people give us: checked, and shown without their secrets."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from faas_connector.errors import ConfigError
from faas_connector.headers import is_text


def check_gateway_url(url: object, field: str = "gateway_url") -> SplitResult:
    """Take a gateway's address apart.

    Raises:
        ConfigError: what is wrong with it, and a right example. A password in it is not shown.
    """
    try:
        parts = split_http_url(url)
        if parts.username is not None or parts.password is not None:
            raise ConfigError("must not hold credentials (use auth=BasicAuth(user, password))")
        if parts.query or parts.fragment:
            raise ConfigError("must have no query and no fragment")
    except ConfigError as error:
        raise ConfigError(
            f"{field} {error}, got {mask_url(url)!r}; for example 'http://127.0.0.1:8080'"
        ) from None
    return parts


def check_callback_url(url: object) -> None:
    """Refuse what the gateway's queue could not post a result to.

    Raises:
        ConfigError: what is wrong with it, and a right example.
    """
    try:
        split_http_url(url)
    except ConfigError as error:
        raise ConfigError(
            f"callback_url {error}, got {mask_url(url)!r}; "
            "for example 'http://gateway.openfaas:8080/function/collect'"
        ) from None


def split_http_url(url: object) -> SplitResult:
    """Take any http or https address apart.

    Raises:
        ConfigError: what is wrong with it, as the end of a sentence; the caller says of what.
    """
    if not isinstance(url, str):
        raise ConfigError("must be text")
    if not is_text(url) or " " in url or "\t" in url:
        raise ConfigError("holds characters that no URL has")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("is no URL") from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigError("must begin with http:// or https://")
    if not host:
        raise ConfigError("has no host")
    if port == 0:
        raise ConfigError("must have a port from 1 to 65535")
    return parts


_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]*://)?")
_QUERY = re.compile(r"([?#]).+", re.DOTALL)


def mask_url(url: object) -> object:
    """The URL with `***` for its user and password, and for its query or fragment.

    Everything before the last `@` counts as such: people paste passwords that no URL may hold.
    Anything but text is given back as it is.
    """
    if isinstance(url, bytes):
        url = url.decode("latin-1")
    if not isinstance(url, str):
        return url
    before, at, after = url.rpartition("@")
    scheme = _SCHEME.match(before)
    after = _QUERY.sub(r"\1***", after)
    return f"{scheme[0] if scheme else ''}***@{after}" if at else after
