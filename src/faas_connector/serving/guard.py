"""Keeps web pages from using what listens on this machine and asks for no credentials."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from faas_connector.serving.listener import is_loopback
from faas_connector.serving.reply import Reply, text


class Guard:
    """Refuses what a foreign web page could send (DNS rebinding, cross-site requests)."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
        what: str = "this gateway",
        allow_host: str = "start it with --allow-host",
        allow_origin: str = "start it with --allow-origin",
    ) -> None:
        """Prepare.

        Args:
            host: where it listens.
            port: where it listens.
            allowed_hosts: names of it besides its own.
            allowed_origins: whose pages may send more than GETs.
            what: what listens, for refusals.
            allow_host: how another name is allowed, for refusals.
            allow_origin: how other pages are allowed, for refusals.
        """
        self._port = port
        self._exposed = not is_loopback(host)
        reached = "127.0.0.1" if self._exposed else host
        self._url = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
        self._names = {name.lower() for name in (host, *allowed_hosts)}
        if self._exposed:
            self._names.add(socket.gethostname().lower())
        self._origins = {origin.lower().rstrip("/") for origin in allowed_origins}
        self._good_hosts: set[str] = set()
        self._what, self._allow_host, self._allow_origin = what, allow_host, allow_origin

    def check(self, method: str, host: str | None, origin: str | None) -> Reply | None:
        """The refusal, or None when the request may pass.

        Args:
            method: of the request.
            host: of a target in absolute form; else the Host field.
            origin: the Origin field.
        """
        if host and host not in self._good_hosts:
            if not self._is_ours(host):
                return text(
                    403,
                    f"{_shown(host)} is not the host of {self._what}; use {self._url}, "
                    f"or {self._allow_host}\n",
                )
            if len(self._good_hosts) < 100:
                self._good_hosts.add(host)
        if method == "GET":
            return None
        if origin is not None and not self._is_our_origin(origin):
            return text(
                403,
                f"pages of {_shown(origin)} may not send {method} requests to {self._what}; "
                f"call it from a program, or {self._allow_origin}\n",
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
