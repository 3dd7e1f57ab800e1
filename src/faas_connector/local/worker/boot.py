"""Starts a worker: `python -P boot.py PROGRAM ARGUMENT…`.

Without running the package's own `__init__`, which imports far more than a worker needs, and
without hiding the package from a handler that imports it.
"""

from __future__ import annotations

import sys
from types import ModuleType


def boot(program: str, arguments: list[str]) -> None:
    """Run `main` of the module `program` beside this file."""
    worker = __file__.rpartition("/")[0]
    local = worker.rpartition("/")[0]
    package = local.rpartition("/")[0]
    parents = {
        "faas_connector": package,
        "faas_connector.local": local,
        "faas_connector.local.worker": worker,
    }
    for name, path in parents.items():
        stub = sys.modules[name] = ModuleType(name)
        stub.__path__ = [path]
    name = f"faas_connector.local.worker.{program}"
    main = __import__(name, fromlist=["main"]).main
    for name in [name for name in sys.modules if name.partition(".")[0] == "faas_connector"]:
        del sys.modules[name]
    main(arguments)


if __name__ == "__main__":
    boot(sys.argv[1], sys.argv[2:])
