"""A function of the local gateway that is written in Python, in the program that starts it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import msgspec

from faas_connector.local.faults import Fault
from faas_connector.local.function import Answer, Call, CallableRunner
from faas_connector.local.instances import RunnerMaker
from faas_connector.local.shapes import Deployment

Given = Answer | bytes | str | int | None
"""What a handler may give: an answer, a body, a status, or nothing (200 and an empty body)."""

Handler = Callable[[Call], Given | Awaitable[Given]]


class LocalFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function in this process, and how the gateway lists it.

    LocalFunction(name="printer", answer=lambda call: call.body,
                  annotations={"topic": "payment.received"})
    """

    name: str
    namespace: str = ""
    """Empty is the gateway's default, `openfaas-fn`."""
    answer: Handler | Given = None
    """A callable, sync or async, or what every call is answered."""
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    image: str = ""
    """Default: `local/NAME`."""
    replicas: int = 1
    created_at: str | None = None
    """RFC 3339; default is now."""
    faults: tuple[Fault | str, ...] = ()
    """Faults of this function; a text is `KEY=VALUE,…`, or a whole spec with its target."""

    def deployment(self) -> Deployment:
        """As the gateway lists it."""
        return Deployment(
            service=self.name,
            image=self.image or f"local/{self.name}",
            namespace=self.namespace,
            annotations=self.annotations,
            labels=self.labels,
        )

    def maker(self) -> RunnerMaker:
        """What makes its runner."""
        return lambda log: CallableRunner(self.name, self._call, log)

    def own_faults(self) -> list[Fault]:
        """Its faults, each with its target."""
        target = f"function/{self.name}" + (f".{self.namespace}" if self.namespace else "")
        return [
            fault
            if isinstance(fault, Fault)
            else Fault.parse(fault if ":" in fault.partition("=")[0] else f"{target}:{fault}")
            for fault in self.faults
        ]

    async def _call(self, call: Call) -> Answer:
        answer = self.answer
        given = answer(call) if callable(answer) else answer
        if inspect.isawaitable(given):
            given = await given
        return as_answer(given)


def as_answer(given: object) -> Answer:
    """An answer of what a handler gave.

    Raises:
        TypeError: it is none of `Answer`, bytes, str, int and None.
    """
    if isinstance(given, Answer):
        return given
    if given is None:
        return Answer(200)
    if isinstance(given, bool) or not isinstance(given, int | str | bytes):
        raise TypeError(
            f"a handler gave {type(given).__name__}; it may give an Answer, bytes, text, "
            "a status or None"
        )
    if isinstance(given, int):
        return Answer(given)
    return Answer(200, (), given.encode() if isinstance(given, str) else given)
