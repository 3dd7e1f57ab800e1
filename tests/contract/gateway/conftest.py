"""Gateways for the contract's rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from faas_connector.testing import LocalGateway

from .functions import FUNCTIONS
from .wire import Client


@pytest.fixture
async def call() -> AsyncIterator[Client]:
    async with LocalGateway(
        functions=FUNCTIONS, allow_deploy=True, metrics_port=0, upstream_timeout=0.5
    ) as gateway:
        yield Client(gateway)


@pytest.fixture
async def guarded() -> AsyncIterator[Client]:
    async with LocalGateway(functions=FUNCTIONS, basic_auth=("admin", "s3cret")) as gateway:
        yield Client(gateway)
