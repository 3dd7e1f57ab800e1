"""The channel between the gateway and a worker: a stream socket, calls with ids, multiplexed.

To the worker a frame is its length and a marshalled tuple. From the worker, whose process runs
code that may write anything anywhere, nothing is unmarshalled: a frame is a fixed head (`HEAD`),
the header fields as lines, and the body.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

LENGTH = struct.Struct("!I")
HEAD = struct.Struct("!IIHI")
"""Bytes that follow this field, call id, status, bytes of header lines."""
HEAD_REST = HEAD.size - LENGTH.size

CONTROL = 0
"""The call id of a worker's own news; the status says which."""
READY = 1
"""The handler is imported, or the command can be started."""
FAILED = 2
"""It can't work; the body says why. The process ends."""

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of an answer's body; a longer one is an error of the function."""

Fields: TypeAlias = Sequence[tuple[str, str]]
Request: TypeAlias = tuple[Any, ...]


def pack_request(*parts: Any) -> bytes:
    """A frame to the worker: the call id first; a lone id cancels that call."""
    payload = marshal.dumps(parts)
    return LENGTH.pack(len(payload)) + payload


def pack_answer(call_id: int, status: int, fields: Fields, body: bytes) -> bytes:
    """A frame to the gateway. The fields hold no line ends and are latin-1."""
    head = "\n".join([text for field in fields for text in field]).encode("latin-1")
    size = HEAD_REST + len(head) + len(body)
    return b"".join((HEAD.pack(size, call_id, status, len(head)), head, body))


def unpack_fields(head: bytes) -> tuple[tuple[str, str], ...]:
    """The header fields of an answer; half a field at the end is dropped."""
    if not head:
        return ()
    texts = iter(head.decode("latin-1").split("\n"))
    return tuple(zip(texts, texts, strict=False))


class RequestBuffer:
    """Cuts what comes from the gateway into requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[Request]:
        """The requests that are complete with this chunk."""
        buffer = self._buffer
        buffer += chunk
        found: list[Request] = []
        start, size = 0, len(buffer)
        while size - start >= LENGTH.size:
            end = start + LENGTH.size + LENGTH.unpack_from(buffer, start)[0]
            if end > size:
                break
            found.append(marshal.loads(buffer[start + LENGTH.size : end]))  # noqa: S302
            start = end
        del buffer[:start]
        return found
