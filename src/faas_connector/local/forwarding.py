"""What the gateway does to a call on its way to a function and back (5.1 and 5.2). Pure."""

from __future__ import annotations

import uuid
import zlib
from typing import Final

import msgspec

from faas_connector._version import __version__
from faas_connector.gateway.http1 import Request
from faas_connector.local.function import Answer, Call, Headers
from faas_connector.local.target import escape
from faas_connector.serving.reply import HANG_UP, Reply

AGENT: Final = f"openfaas-ce-gateway/{__version__}"
SERVED_BY: Final = ("X-Served-By", f"openfaas-ce/{__version__}")
INTERNAL: Final = ("X-Openfaas-Internal", "proxy")
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
"""What the provider library allows; everything else is 405."""

# Removed from a request; Host and Content-Length belong to the next hop's framing.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "proxy-connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
    }
)
_MAX_INFLATED = 256 * 1024 * 1024


class Passage(msgspec.Struct, frozen=True):
    """One call on its way through the gateway."""

    name: str
    """As in the URL: with or without a namespace."""
    call: Call
    call_id: str
    own_call_id: bool
    """Whether the gateway made the call id; only then the caller is told."""
    start_time: str
    """Nanoseconds since the epoch."""
    events: bool
    """Whether the caller accepts an event stream, which goes another way through the gateway."""
    inflates: bool
    """Whether the gateway asked for gzip by itself, and so decompresses the answer."""
    content_type: str | None
    """The request's."""
    topic: str
    """The request's X-Topic."""
    headers: Headers = ()
    """What the gateway adds to the answer."""


def passage(
    request: Request, peer: str, *, name: str, path: str, query: str, now_ns: int
) -> Passage:
    """The call as the function is to see it, and what must be known for the way back.

    Args:
        path: decoded; begins with `/`.
        now_ns: nanoseconds since the epoch.
    """
    seen: dict[str, str] = {}
    fields: list[tuple[str, str]] = []
    for field in request.headers:
        lower = field[0].lower()
        seen.setdefault(lower, field[1])
        if lower not in _HOP_BY_HOP and not (lower == "x-call-id" and not field[1]):
            fields.append(field)
    events = seen.get("accept", "").startswith("text/event-stream")
    call_id = seen.get("x-call-id", "")
    own = not call_id
    if own:
        call_id = str(uuid.uuid4())
        fields.append(("X-Call-Id", call_id))
    start = str(now_ns)
    fields.append(("X-Start-Time", start))
    inflates = not (
        events or "accept-encoding" in seen or "range" in seen or request.method == "HEAD"
    )
    _add_origin(fields, seen, peer, events=events)
    if inflates:
        fields.append(("Accept-Encoding", "gzip"))
    if not request.body and request.method in {"POST", "PUT", "PATCH"}:
        fields.append(("Content-Length", "0"))
    elif events:
        fields.append(("Content-Length", str(len(request.body))))
    added = (("X-Call-Id", call_id),) if own else ()
    return Passage(
        name,
        Call(request.method, escape(path), query, tuple(fields), request.body),
        call_id,
        own,
        start,
        events,
        inflates,
        seen.get("content-type"),
        seen.get("x-topic", ""),
        (*added, ("X-Start-Time", start), SERVED_BY),
    )


def _add_origin(
    fields: list[tuple[str, str]], seen: dict[str, str], peer: str, *, events: bool
) -> None:
    if events:
        address = peer.rpartition(":")[0].strip("[]")
        before = seen.get("x-forwarded-for")
        if before is not None:
            fields[:] = [field for field in fields if field[0].lower() != "x-forwarded-for"]
            address = f"{before}, {address}"
        fields.append(("X-Forwarded-For", address))
        return
    if "x-forwarded-host" not in seen:
        fields.append(("X-Forwarded-Host", seen.get("host", "")))
    if "x-forwarded-for" not in seen:
        fields.append(("X-Forwarded-For", peer))
    if "user-agent" not in seen:
        fields.append(("User-Agent", AGENT))


def to_caller(passage: Passage, answer: Answer) -> Reply:
    """The function's answer as the caller gets it; the function's fields win over the gateway's."""
    fields, body = answer.headers, answer.body
    named = {name.lower() for name, _ in fields}
    if passage.inflates and "content-encoding" in named and passage.call.method != "HEAD":
        inflated = _inflated(fields, body)
        if inflated is None:
            return HANG_UP
        fields, body = inflated
    added = [field for field in passage.headers if field[0].lower() not in named]
    if "content-type" not in named:
        fields = (*fields, ("Content-Type", passage.content_type or "text/plain"))
    return Reply(answer.status, (*added, *fields), body)


def trouble(passage: Passage, status: int, body: str = "", headers: Headers = ()) -> Reply:
    """An answer of the gateway's or the provider's own, in place of the function's."""
    return Reply(status, (*passage.headers, *headers), body.encode("latin-1"))


def _inflated(fields: Headers, body: bytes) -> tuple[Headers, bytes] | None:
    """Fields and body without gzip; None when the body is no gzip, or swells beyond measure."""
    encodings = [value for name, value in fields if name.lower() == "content-encoding"]
    if [value.lower() for value in encodings] != ["gzip"] or not body:
        return fields, body
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, _MAX_INFLATED)
    except zlib.error:
        return None
    if not inflater.eof:
        return None
    dropped = {"content-encoding", "content-length"}
    return tuple(field for field in fields if field[0].lower() not in dropped), plain
