"""A look at a socket that waits for nothing, and keeps the interpreter's lock.

`select.poll` lets go of the lock at each call. Where another thread has work, as a store's does,
it takes the lock, and the loop waits until it gets it back: that costs more than the look.
"""

from __future__ import annotations

import ctypes
import select
from collections.abc import Callable
from functools import partial


class _Watched(ctypes.Structure):
    """`struct pollfd` of poll(2)."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


_poll = ctypes.PyDLL(None).poll
_ONE, _AT_ONCE = ctypes.c_ulong(1), ctypes.c_int(0)


def peek(fd: int) -> Callable[[], int]:
    """What tells whether there is anything to read, a hang-up or an error included; 0 for no."""
    return partial(_poll, ctypes.byref(_Watched(fd, select.POLLIN, 0)), _ONE, _AT_ONCE)
