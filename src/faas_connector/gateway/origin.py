"""Where requests go: scheme, host, port and base path of a URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from faas_connector.urls import check_gateway_url

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """The server behind a URL. `str()` gives the URL, which holds no secret and no last slash."""

    scheme: str
    """http or https."""
    host: str
    """A name or an address; IPv6 without its brackets."""
    port: int
    base_path: str = ""
    """What goes before each path; begins with `/` unless it is empty, and never ends with one."""

    @classmethod
    def parse(cls, url: str, *, field: str = "gateway_url") -> Self:
        """Take a URL apart; slashes at its end are lost.

        Args:
            url: for example `https://gw.example:8443/base/`.
            field: the setting it came from, for the error.

        Raises:
            ConfigError: no scheme or host, a bad port, credentials, a query or a fragment.
        """
        parts = check_gateway_url(url, field)
        return cls(
            parts.scheme,
            (parts.hostname or "").replace("%25", "%"),  # before a zone (RFC 6874)
            parts.port or _PORTS[parts.scheme],
            parts.path.rstrip("/"),
        )

    @property
    def host_header(self) -> str:
        """The value of the `Host` field."""
        host, _, _ = self.host.partition("%")  # a zone means nothing to the peer (RFC 6874, 4)
        if ":" in host:
            host = f"[{host}]"
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.base_path}"
