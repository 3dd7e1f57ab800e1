"""The command `faas-connector`."""

from __future__ import annotations

import sys

from faas_connector.cli.interrupts import leave_at_once

TYPE_CHECKING = False  # see `interrupts`
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and exit with its status."""
    leave_at_once()  # before the first import that takes long
    from faas_connector.cli.app import run  # noqa: PLC0415

    status = run()
    leave_at_once()  # what is left is the interpreter's end
    sys.exit(status)
