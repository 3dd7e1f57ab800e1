"""Up to where the events of a partition may be acknowledged."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Frontier(Generic[T]):
    """The events of one partition in the order of reading: acknowledged up to the first gap."""

    __slots__ = ("_finished",)

    def __init__(self) -> None:
        self._finished: OrderedDict[T, bool] = OrderedDict()

    def add(self, event: T) -> None:
        """It was read; one that is in hand already keeps its place."""
        self._finished.setdefault(event, False)

    def finish(self, event: T) -> list[T]:
        """It may be acknowledged; those that can be now, of which the last one covers all."""
        if event in self._finished:
            self._finished[event] = True
        passed: list[T] = []
        while self._finished and self._finished[first := next(iter(self._finished))]:
            del self._finished[first]
            passed.append(first)
        return passed

    def beyond(self) -> list[T]:
        """What is finished, and waits for an earlier one."""
        return [event for event, is_finished in self._finished.items() if is_finished]
