"""A listening port that can be closed for a while and opened again, without being lost."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket

from faas_connector.errors import ConfigError, ConnectorError

_HIGHEST_PORT = 65_535


class PortInUseError(ConnectorError, OSError):
    """Somebody else listens on the port; try another, or 0 for any free one."""

    def __str__(self) -> str:
        """What happened, without the number of the error before it."""
        return self.strerror or super().__str__()


class Port:
    """A port on one address, kept for its owner until `close`.

    A second socket, bound but never listening, keeps the port while nobody listens: a gateway that
    is down comes back on the same port, and no program that asks for any free one gets it
    meanwhile. One that asks for this number does (nothing short of listening keeps it out); then
    `listen` fails.
    """

    def __init__(self, host: str, port: int) -> None:
        """Take the port; 0 takes a free one.

        Raises:
            PortInUseError: it is taken.
            ConfigError: the address is none of this machine.
        """
        self._family, self._address = _resolve(host, port)
        self._keeper: socket.socket | None = None
        first = self._bind()
        if port == 0:
            # The socket that listens must not be the one that was given a free port: closing
            # that one would set the port free.
            self._address = (self._address[0], first.getsockname()[1], *self._address[2:])
            self._keeper = first
        else:
            first.close()
            self._keep()
        self.host = self._address[0]
        self.number = int(self._address[1])

    def listen(self) -> socket.socket:
        """A new listening socket, for the event loop to own.

        Raises:
            PortInUseError: somebody else listens there.
        """
        listening = self._bind()
        try:
            listening.listen(1024)
        except OSError as error:
            listening.close()
            raise self._taken() from error
        return listening

    def close(self) -> None:
        """Give the port back."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _keep(self) -> None:
        # Where two sockets can't be bound to one address, the port is free while we are down.
        with contextlib.suppress(PortInUseError):
            self._keeper = self._bind()

    def _bind(self) -> socket.socket:
        bound = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setblocking(False)
            bound.bind(self._address)
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                raise self._taken() from error
            raise ConfigError(
                f"can't listen on {self._address[0]}:{self._address[1]} ({error.strerror}); "
                "use an address of this machine, for example 127.0.0.1"
            ) from error
        return bound

    def _taken(self) -> PortInUseError:
        return PortInUseError(
            errno.EADDRINUSE,
            f"port {self._address[1]} on {self._address[0]} is taken; "
            "give another, or 0 for any free one",
        )


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; the host of `:PORT` is every address of this machine.

    Raises:
        ConfigError: it is none.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not (colon and port.isascii() and port.isdigit() and int(port) <= _HIGHEST_PORT) or (
        ":" in bare and bare == host
    ):
        raise ConfigError(
            f"{text!r} is no address to listen on; for example 127.0.0.1:9000 or [::1]:9000"
        )
    return bare or "0.0.0.0", int(port)  # noqa: S104


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, an address or a name."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int, *tuple[int]]]:
    if host == "localhost":
        host = "127.0.0.1"
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigError(
            f"can't listen on host {host!r}, port {port} ({error}); "
            "for example host '127.0.0.1', port 8080"
        ) from error
    family, _, _, _, address = found[0]
    return family, address  # type: ignore[return-value]
