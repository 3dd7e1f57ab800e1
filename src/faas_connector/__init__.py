"""Event connectors for OpenFaaS: deliver every event to every function that asked for its topic.

    async with Controller(ControllerConfig(gateway_url="http://127.0.0.1:8080")) as controller:
        await controller.invoke("payment.received", b"hello")

`faas_connector.sync.Controller` is the same for programs without an event loop.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # the name is what type checkers look at; importing typing takes its time
if TYPE_CHECKING:
    from faas_connector._public import *  # noqa: F403  # it has an __all__


def _load(name: str) -> object:
    """Load all public names when the first is asked for: the command line is up without them."""
    if name in {"__all__", "__version__"} or not name.startswith("_"):
        public = importlib.import_module("faas_connector._public")
        globals().update({each: getattr(public, each) for each in ("__all__", *public.__all__)})
    if name in globals():
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def _names() -> list[str]:
    _load("__all__")
    return sorted(globals())


if not TYPE_CHECKING:  # for type checkers there are the names above and no others
    __getattr__, __dir__ = _load, _names
