"""Who may ask: basic auth, and the checks that keep web pages from using a local gateway."""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import socket
from base64 import b64decode
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from faas_connector.errors import ConfigError
from faas_connector.gateway.http1 import Request
from faas_connector.serving.listener import is_loopback
from faas_connector.serving.reply import Reply, text


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


class Guard:
    """Refuses what a foreign web page could send (DNS rebinding, cross-site requests)."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
    ) -> None:
        self._port = port
        self._exposed = not is_loopback(host)
        self._url = f"http://{'127.0.0.1' if self._exposed else host}:{port}"
        self._names = {name.lower() for name in (host, *allowed_hosts)}
        if self._exposed:
            self._names.add(socket.gethostname().lower())
        self._origins = {origin.lower().rstrip("/") for origin in allowed_origins}
        self._good_hosts: set[str] = set()

    def check(self, request: Request, authority: str) -> Reply | None:
        """The refusal, or None when the request may pass.

        Args:
            authority: the host of a target in absolute form; empty otherwise.
        """
        host = authority or field(request, "host")
        if host and host not in self._good_hosts:
            if not self._is_ours(host):
                return text(
                    403,
                    f"{_shown(host)} is not the host of this gateway; use {self._url}, "
                    "or start it with --allow-host\n",
                )
            if len(self._good_hosts) < 100:
                self._good_hosts.add(host)
        if request.method == "GET":
            return None
        origin = field(request, "origin")
        if origin is not None and not self._is_our_origin(origin):
            return text(
                403,
                f"pages of {_shown(origin)} may not send {request.method} requests to this "
                "gateway; call it from a program, or start it with --allow-origin\n",
            )
        return None

    def _is_ours(self, host: str) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        if is_loopback(name) or name in self._names:
            return True
        # A page can point a name of its own at this machine, but not an address.
        return self._exposed and _is_address(name)

    def _is_our_origin(self, origin: str) -> bool:
        if origin.lower().rstrip("/") in self._origins:
            return True
        try:
            parts = urlsplit(origin)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return False
        return parts.scheme == "http" and port == self._port and self._is_ours(parts.netloc.lower())


def _host_name(host: str) -> str | None:
    """The name in a Host field, without port and brackets; None if it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _shown(value: str) -> str:
    return repr(value[:100])
