"""Work of a client library that must not be torn by a cancellation, nor swallow one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from faas_connector.errors import SourceError

T = TypeVar("T")


async def whole(work: Coroutine[Any, Any, T], what: str, *, grace: float = 0.0) -> T:
    """Do it in a task of its own: libraries cancel the tasks that wait in them, or keep one alive.

    Args:
        work: what the library does.
        what: names it.
        grace: seconds in which it may end by itself when we are cancelled.

    Raises:
        SourceError: the library cancelled it: the connection was lost.
    """
    task = asyncio.create_task(work, name=what)
    try:
        await asyncio.wait([task])
    finally:
        if not task.done() and grace:
            await asyncio.wait([task], timeout=grace)
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        if not task.cancelled():
            task.exception()
    if task.cancelled():
        raise SourceError(f"{what}: the connection was lost")
    return task.result()
