"""Who may ask: basic auth, and where there must be some."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from typing import NamedTuple

from faas_connector.errors import ConfigError
from faas_connector.gateway.http1 import Request
from faas_connector.serving.listener import is_loopback


class Credentials(NamedTuple):
    """The gateway's user and password."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password=***)"


def check_exposure(host: str, basic_auth: Credentials | None) -> None:
    """Refuse to let others reach a gateway that asks for no password.

    Raises:
        ConfigError: `host` is reached from other machines, and there is no basic auth.
    """
    if basic_auth is None and not is_loopback(host):
        raise ConfigError(
            f"host {host!r} is reached from other machines and needs basic auth; add "
            "--basic-auth-user and --basic-auth-password-file, or listen on 127.0.0.1"
        )


def field(request: Request, name: str) -> str | None:
    """The first field of that (lower-case) name."""
    for key, value in request.headers:
        if len(key) == len(name) and key.lower() == name:
            return value
    return None


def is_authorized(request: Request, credentials: Credentials | None) -> bool:
    """Whether the first Authorization field holds the credentials, compared in constant time."""
    if credentials is None:
        return True
    scheme, _, token = (field(request, "authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        user, _, password = b64decode(token.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    right_user = hmac.compare_digest(user, credentials.username.encode())
    right_password = hmac.compare_digest(password, credentials.password.encode())
    return right_user and right_password
