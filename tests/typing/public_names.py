"""The public names are loaded late; type checkers see them, and refuse all others."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

import faas_connector
from faas_connector import *  # noqa: F403
from faas_connector import ControllerConfig


def names() -> None:
    assert_type(faas_connector.ControllerConfig(), ControllerConfig)
    assert_type(Event("payment.received", b"").topic, str)  # noqa: F405
    assert faas_connector.Evnt  # type: ignore[attr-defined]
