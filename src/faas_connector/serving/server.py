"""An HTTP/1.1 server on a raw asyncio protocol: what an ASGI server can't do, it must.

It keeps connections alive, answers pipelined requests in order, notices a client that hangs up,
bounds what its clients may hold, and can close without a byte, promise more than it sends, and
dribble.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Callable
from typing import Any

from faas_connector.serving.clients import Clients
from faas_connector.serving.connection import (
    BadRequest,
    Connection,
    Handler,
    ServerLimits,
    refusal,
)

_log = logging.getLogger("faas_connector.http")

# Seconds without too many clients after which it is said again that there are.
_QUIET = 60.0


class Server:
    """Serves one handler on sockets that it is given."""

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits,
        *,
        bad_request: BadRequest = refusal,
        name: str = "local gateway",
        part: Callable[[], int | None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            handler: answers requests.
            limits: what connections may use.
            bad_request: answers what is no request, and what is over a limit.
            name: what log lines, task names and the answer to an internal error say.
            part: how many clients it may have now, if that is less than the limit.
        """
        self.handler = handler
        self.name = name
        self.limits = limits
        self.bad_request = bad_request
        self.internal_errors = 0
        """How often a handler raised: always a bug of ours."""
        self.clients = Clients[Connection]()
        self.connections = self.clients.all
        self.tasks: set[asyncio.Future[Any]] = set()
        """Answers that are still to come."""
        self.held_bytes = 0
        """Of requests of all clients that have not begun to be answered."""
        self._part = part
        self._full_at = -math.inf
        self._listening: asyncio.Server | None = None

    @property
    def listening(self) -> bool:
        """Whether it takes connections."""
        return self._listening is not None

    async def listen(self, listening: socket.socket) -> None:
        """Serve on a listening socket, which belongs to the server from now on."""
        loop = asyncio.get_running_loop()
        # In two steps: who is cancelled in the second has something to close.
        self._listening = await loop.create_server(
            lambda: Connection(self), sock=listening, start_serving=False
        )
        await self._listening.start_serving()

    async def close(self, grace: float = 0.0) -> None:
        """Listen no more, and end every connection.

        Args:
            grace: seconds that requests may still take which are being answered.
        """
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in tuple(self.connections):
            connection.finish()
        if self.tasks and grace > 0:
            await asyncio.wait(tuple(self.tasks), timeout=grace)
        for connection in tuple(self.connections):
            connection.abort()
        for task in tuple(self.tasks):
            task.cancel()
        while self.tasks:
            await asyncio.wait(tuple(self.tasks))
        await asyncio.sleep(0)  # let the transports tell their protocols that they are closed

    def admit(self, connection: Connection) -> bool:
        """Whether a new client may stay; if need be, another goes for it."""
        most = self._most_clients()
        while most is not None and len(self.connections) >= most:
            self._report_full(most)
            other = self.clients.next_to_go()
            if other is None:
                self.connections.add(connection)
                return False
            self.clients.leave(other)
            other.abort()
        self.clients.enter(connection)
        return True

    def read_no_further_ahead(self) -> None:
        """Too much is held: each of many that wait for an answer could add a little to it."""
        for connection in self.connections:
            connection.read_on_or_pause()

    def _most_clients(self) -> int | None:
        part = None if self._part is None else self._part()
        return min((x for x in (self.limits.max_connections, part) if x is not None), default=None)

    def _report_full(self, most: int) -> None:
        """Say it once, and again when it was otherwise for a while."""
        now = time.monotonic()
        if now - self._full_at > _QUIET:
            _log.warning(
                "%s: %d clients are connected, and no more may be (max_connections, ulimit -n); "
                "for each new one the one is hung up on that has been idle longest",
                self.name, most,
            )  # fmt: skip
        self._full_at = now
