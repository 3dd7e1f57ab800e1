"""Cancelling a request while its connection is being made, whenever that is."""

from __future__ import annotations

import asyncio

import pytest

from faas_connector.gateway.transport import Origin, Transport, request_head


@pytest.mark.parametrize("steps", range(8))
async def test_nothing_keeps_a_place_nor_the_closing(steps):
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        transport = Transport(Origin.parse(f"http://127.0.0.1:{port}"), max_connections=1)
        request = asyncio.create_task(transport.request(request_head("GET", "/", ())))
        for _ in range(steps):
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        # Not `wait_for`, which would cancel what hangs and go on.
        closing = asyncio.create_task(transport.aclose())
        done, _ = await asyncio.wait([closing], timeout=5)
        closing.cancel()
        assert done
