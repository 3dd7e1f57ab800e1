"""Leaves the reason of a fatal end where an orchestrator looks for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Mapping
from pathlib import Path

import click.exceptions

from faas_connector.cli.failures import describe, leaves
from faas_connector.settings.loading import TERMINATION_LOG

_OF_KUBERNETES = Path("/dev/termination-log")
_MOST = 4096  # bytes that Kubernetes takes of it


@contextlib.contextmanager
def reason_left() -> Generator[None]:
    """Leave the reason where what is done inside fails."""
    try:
        yield
    except click.exceptions.Exit:
        raise
    except Exception as error:
        leave_reason("; ".join(describe(each)[0] for each in leaves(error)), os.environ)
        raise


def leave_reason(reason: str, environ: Mapping[str, str]) -> None:
    """Write it to the file that `FAAS_CONNECTOR_TERMINATION_LOG` names; else where Kubernetes is.

    Never fails: the log has the reason, too.
    """
    named = environ.get(TERMINATION_LOG)
    with contextlib.suppress(OSError):
        if named or _OF_KUBERNETES.exists():
            path = Path(named) if named else _OF_KUBERNETES
            path.write_bytes(reason.encode("utf-8", "replace")[:_MOST])
