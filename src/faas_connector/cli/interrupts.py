"""Ctrl-C while the command line comes up, which takes some tenths of a second.

A KeyboardInterrupt can come up anywhere, in the middle of an import too, and Python shows it with a
traceback or loses it. As long as nothing has been begun, the process just ends instead.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # importing typing would take as long as all else that happens before
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    Handler = Callable[[int, FrameType | None], object]

INTERRUPTED = 130
"""128 and the number of SIGINT, as shells report it."""
_STDERR = 2


def leave_at_once() -> None:
    """From now on Ctrl-C ends the process there and then, unless it is ignored."""
    _replace(signal.default_int_handler, _leave)


def raise_again() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, if `leave_at_once` has changed that."""
    _replace(_leave, signal.default_int_handler)


def _replace(old: Handler, new: Handler) -> None:
    if signal.getsignal(signal.SIGINT) is old:
        signal.signal(signal.SIGINT, new)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    try:
        os.write(_STDERR, b"\n")  # after the terminal's ^C
    finally:
        os._exit(INTERRUPTED)
