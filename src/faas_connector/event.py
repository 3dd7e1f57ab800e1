"""What is delivered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: a topic and bytes. It knows no broker and no attempt.

    Example:
        >>> Event("payment.received", b'{"amount": 12}', content_type="application/json").topic
        'payment.received'
    """

    topic: str
    """What functions ask for in their `topic` annotation."""
    data: bytes = b""
    """The body each function gets, unchanged."""
    headers: Mapping[str, str] = {}
    """Further header fields of the call. Of what a source reads none of ours passes (`X-Topic`,
    `X-Event-*`), and none that a gateway or a CGI program would act upon."""
    content_type: str | None = None
    """`Content-Type` of the body; None means the controller's default."""
    id: str | None = None
    """What the function sees as the event's id; may be the publisher's and may repeat."""
    key: str | None = None
    """Events of one key keep their order where a function asks for it."""
    time: datetime | None = None
    """When it happened, where the source knows."""


# Of so few fields, which a source holds to 32 KiB, it would cost more to count them.
_FEW_FIELDS = 16
_PER_FIELD = 128
"""Bytes that a field needs in memory besides its characters."""


def size_of(event: Event) -> int:
    """Bytes that count where memory is limited: of its body, and of header fields that are many."""
    headers = event.headers
    if len(headers) <= _FEW_FIELDS:
        return len(event.data)
    fields = sum(len(name) + len(str(value)) for name, value in headers.items())
    return len(event.data) + fields + _PER_FIELD * len(headers)
