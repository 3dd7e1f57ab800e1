"""Fixtures for pytest: `pytest_plugins = ["faas_connector.testing.plugin"]` in your conftest.py.

- `local_gateway`: an empty gateway in the test's own event loop (needs pytest-asyncio, or anyio).
- `local_gateways`: a factory: `gateway = await local_gateways(basic_auth=("admin", "pw"))`.
- `threaded_gateway`: an empty gateway in a thread, for tests without an event loop.

Each is closed when the test ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, TypeAlias

from faas_connector.errors import MissingExtraError
from faas_connector.local.gateway import LocalGateway
from faas_connector.testing.threaded import ThreadedGateway

try:
    import pytest
except ImportError as missing:
    raise MissingExtraError(
        "these fixtures need pytest; install it with: pip install pytest pytest-asyncio"
    ) from missing

async_fixture = pytest.fixture
if not TYPE_CHECKING:
    # Without pytest-asyncio another plugin, such as anyio's, runs async fixtures.
    with suppress(ImportError):
        from pytest_asyncio import fixture as async_fixture

GatewayFactory: TypeAlias = Callable[..., Awaitable[LocalGateway]]
"""Takes what `LocalGateway` takes, and gives one that is open."""


@async_fixture
async def local_gateway() -> AsyncGenerator[LocalGateway]:
    """A gateway without functions; add them with `local_gateway.add(LocalFunction(...))`."""
    async with LocalGateway() as gateway:
        yield gateway


@async_fixture
async def local_gateways() -> AsyncGenerator[GatewayFactory]:
    """Opens as many gateways as the test asks for, each as it asks."""
    async with AsyncExitStack() as stack:

        async def open_gateway(**settings: object) -> LocalGateway:
            return await stack.enter_async_context(LocalGateway(**settings))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        yield open_gateway


@pytest.fixture
def threaded_gateway() -> Generator[ThreadedGateway]:
    """A gateway without functions, in a thread of its own."""
    with ThreadedGateway() as gateway:
        yield gateway
