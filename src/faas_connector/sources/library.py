"""What adapters of client libraries need: work that isn't torn, work beside, what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def beside(what: str, work: Coroutine[Any, Any, object]) -> AsyncGenerator[None]:
    """Have it done while the block runs, and no longer."""
    task = asyncio.create_task(work, name=what)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def one_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
