"""What the local gateway knows of a function: one call, one answer, and who runs it."""

from __future__ import annotations

import inspect
import secrets
import traceback
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in the order they came; names as they were written."""

Log: TypeAlias = Callable[[str], None]
"""Takes one line of a function's log, without its line end. It must not raise."""

_POD_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # the one that Kubernetes names pods with


class Call(msgspec.Struct, frozen=True):
    """One call of a function, as the function is to see it."""

    method: str
    path: str
    """As in a request line: begins with `/`, percent-encoded. `/function/NAME` is cut off."""
    query: str
    """Raw, without the `?`."""
    headers: Headers
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    """What a function answered."""

    status: int
    headers: Headers = ()
    body: bytes = b""


class FunctionAbortedError(Exception):
    """The function went away without an answer."""


class Runner(Protocol):
    """Runs one function.

    `start` comes once and before the first `call`. A function that can't work is no error of
    `start`: it is started, says why in its log, and its calls say so too.
    """

    @property
    def instance(self) -> str:
        """The name of what runs the function, as a pod would be named; a host name."""
        ...

    async def start(self) -> None: ...

    async def call(self, call: Call) -> Answer:
        """The function's answer. Cancelling it abandons the call.

        Raises:
            FunctionAbortedError: the function went away without an answer.
        """
        ...

    async def stop(self) -> None:
        """End the function; nothing of it is left behind. May be called again."""
        ...


class Unsupported(msgspec.Struct, frozen=True):
    """A function that can't run here."""

    reason: str
    """One line: why, and what to do about it."""


def pod_name(function: str) -> str:
    """A new name for an instance of the function, such as `printer-7f9c4d8b6-x2k4z`."""
    return f"{function}-{_pod_id(9)}-{_pod_id(5)}"


def _pod_id(length: int) -> str:
    return "".join(secrets.choice(_POD_ALPHABET) for _ in range(length))


class CallableRunner:
    """Runs a Python callable in this process.

    A plain function runs on the event loop: one that waits should be a coroutine function.
    What it raises is a 500, with its traceback in the log; a `FunctionAbortedError` passes.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Call], Answer | Awaitable[Answer]],
        log: Log,
    ) -> None:
        self.instance = pod_name(name)
        self._function = function
        self._log = log

    async def start(self) -> None:
        """Nothing to start."""

    async def call(self, call: Call) -> Answer:
        try:
            answer = self._function(call)
            if inspect.isawaitable(answer):
                answer = await answer
        except FunctionAbortedError:
            raise
        except Exception as error:
            for line in traceback.format_exc().splitlines():
                self._log(line)
            return Answer(500, (("Content-Type", "text/plain"),), f"{error!r}\n".encode())
        return answer

    async def stop(self) -> None:
        """Nothing to stop."""
