"""What one call's answer means for its event. Values and arithmetic; nothing here waits."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from faas_connector.errors import ConnectError, ConnectorError, ResponseTooLargeError
from faas_connector.names import Invocation


class Kind(enum.Enum):
    """What an answer means."""

    DELIVERED = "delivered"
    """The function took the event."""
    ACCEPTED = "accepted"
    """The gateway's queue took it, and is responsible from there."""
    FAILED = "failed"
    """It may go better another time."""
    ABSENT = "absent"
    """The call never reached the function: it is asleep or gone, or there was no connection."""
    REFUSED = "refused"
    """It will never go better."""
    NO_QUEUE = "no queue"
    """The gateway has no queue for asynchronous calls: a mistake of configuration."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one call."""

    kind: Kind
    what: str = ""
    """What was answered, or why nothing was; one line, empty after a success."""
    status: int | None = None
    retry_after: float | None = None
    """Seconds that the answer asked us to wait at least."""
    may_be_outage: bool = False
    """Whether the gateway, and not the function, may be what failed."""

    @property
    def succeeded(self) -> bool:
        """Whether the event needs no further call."""
        return self.kind is Kind.DELIVERED or self.kind is Kind.ACCEPTED


DELIVERED = Outcome(Kind.DELIVERED)
ACCEPTED = Outcome(Kind.ACCEPTED)

# Texts of the gateway and its provider (gateway contract, 5.3 and 6).
_NO_ENDPOINTS = b"No endpoints available"
_NOT_FOUND = b"error finding function"
_TOO_LARGE_FOR_QUEUE = (b"request body too large", b"maximum payload exceeded")
_PAGE_NOT_FOUND = b"404 page not found"
_TRIED_AGAIN = frozenset({408, 425, 429})
_GATEWAY_STATUSES = frozenset({502, 503})
# Longer ones are no times that anybody means.
_LONGEST_NUMBER = 12


def outcome_of(
    invocation: Invocation,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    codes: Collection[int] | None = None,
    now: float = 0.0,
) -> Outcome:
    """What a complete answer means.

    Args:
        invocation: the route that was taken.
        status: of the answer.
        headers: of the answer; names ignore case.
        body: of the answer.
        codes: the function's statuses that are tried again; None means 408, 425, 429 and 5xx.
        now: seconds since the epoch, to read a `Retry-After` that is a date.
    """
    if 200 <= status <= 299:
        return DELIVERED if invocation is Invocation.SYNC else ACCEPTED
    from_gateway = "x-openfaas-internal" in headers
    said = f"{status} {_excerpt(body)}".rstrip()
    if _is_absent(status, body):
        return Outcome(Kind.ABSENT, said, status)
    if invocation is Invocation.ASYNC:
        if status == 404 and body.startswith(_PAGE_NOT_FOUND):
            return Outcome(Kind.NO_QUEUE, said, status)
        if status == 500 and any(text in body for text in _TOO_LARGE_FOR_QUEUE):
            return Outcome(Kind.REFUSED, said, status)
        codes = None  # the function has answered nothing yet
    # The gateway answers 502 without a body where nobody answered it (contract, 5.3).
    nobody_answered = from_gateway or (status == 502 and not body)
    again = status in _TRIED_AGAIN or 500 <= status <= 599 if codes is None else status in codes
    # Even where the function would refuse with such a status, it may be the gateway's.
    may_be_outage = nobody_answered or status in _GATEWAY_STATUSES
    if not again and not nobody_answered:
        return Outcome(Kind.REFUSED, said, status, may_be_outage=may_be_outage)
    wait = retry_after(headers.get("retry-after"), now)
    return Outcome(Kind.FAILED, said, status, retry_after=wait, may_be_outage=may_be_outage)


def outcome_of_error(error: ConnectorError) -> Outcome:
    """What it means that there was no complete answer."""
    if isinstance(error, ResponseTooLargeError):
        # The function has run; it would run, and answer as much, each time.
        return Outcome(Kind.REFUSED, str(error))
    if isinstance(error, ConnectError):
        # Nothing was sent: whatever it was, even if the gateway is well again, not the function.
        return Outcome(Kind.ABSENT, str(error), may_be_outage=True)
    return Outcome(Kind.FAILED, str(error), may_be_outage=True)


def _is_absent(status: int, body: bytes) -> bool:
    if status == 503:
        return body.startswith(_NO_ENDPOINTS)
    return status == 404 and body.startswith(_NOT_FOUND)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` asks for (RFC 9110, 10.2.3); None where it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_LONGEST_NUMBER])
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # The format of asctime names no zone, and means UTC like the others (RFC 9110, 5.6.7).
    return max(0.0, (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() - now)


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    return "".join(character if character.isprintable() else "?" for character in text)
