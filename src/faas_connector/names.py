"""How a function is named and by which route it is called."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from faas_connector.errors import ConfigError

# The gateway's routes accept no other characters (gateway contract, "Listeners and routes").
_ROUTE_NAME = re.compile(r"[-a-zA-Z0-9_.]+")


class Invocation(enum.Enum):
    """Which of the gateway's two routes a call takes."""

    SYNC = "sync"
    """`/function/NAME`: the answer is the function's own."""
    ASYNC = "async"
    """`/async-function/NAME`: the answer is 202 as soon as the gateway has queued the call."""

    __hash__ = object.__hash__  # Enum's own is in Python, and calls look things up by the route


class FunctionName(NamedTuple):
    """A function's name and namespace; `str()` gives `name.namespace`.

    `namespace` is empty when none is known: the gateway then uses its default.
    """

    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}" if self.namespace else self.name

    @classmethod
    def parse(cls, text: str) -> FunctionName:
        """Split `name.namespace` at the last dot, as the gateway does.

        Raises:
            ConfigError: `text` is no name that the gateway's routes accept.
        """
        name, _, namespace = text.rpartition(".") if "." in text else (text, "", "")
        if not _ROUTE_NAME.fullmatch(text) or not name or (not namespace and "." in text):
            raise ConfigError(
                f"{text!r} is no function name: letters, digits, '-', '_' and '.' only, "
                "for example 'printer' or 'printer.openfaas-fn'"
            )
        return cls(name, namespace)
