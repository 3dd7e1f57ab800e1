"""What a source over HTTP answers. Nothing here waits."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

from faas_connector.outcome import Kind
from faas_connector.serving.reply import PLAIN, Reply

RETRY_AFTER: Final = ("Retry-After", "5")
"""Seconds after which a refused sender may come again."""


class ReplyWith(enum.Enum):
    """What a request is answered with."""

    ACCEPTED = "accepted"
    """202 once its event is safe (durable), or every function has it; else 503."""
    VERDICT = "verdict"
    """The status that the function answered."""


Conclusion = tuple[Kind, int | None]
"""What a function made of an event, and the status that it answered."""

ACCEPTED: Final = Reply(202)


def refusal(status: int, text: str, *fields: tuple[str, str]) -> Reply:
    """An answer that says why not."""
    return Reply(status, (PLAIN, *fields), f"{text}\n".encode())


NOT_FOUND: Final = refusal(404, "there is no such topic here")
BUSY: Final = refusal(503, "too many events wait here", RETRY_AFTER)
DRAINING: Final = refusal(503, "this connector is stopping", RETRY_AFTER)
NOT_SAFE: Final = refusal(503, "the event could not be kept", RETRY_AFTER)
NOT_YET: Final = refusal(503, "not every function has taken the event", RETRY_AFTER)
TOO_LATE: Final = refusal(503, "no function has answered in time", RETRY_AFTER)
UNMATCHED: Final = refusal(404, "no function asks for this topic")

_SUCCESSES = {Kind.DELIVERED, Kind.ACCEPTED}


def accepted(conclusions: Sequence[Conclusion]) -> Reply:
    """202 where every function has the event."""
    return ACCEPTED if all(kind in _SUCCESSES for kind, _ in conclusions) else NOT_YET


def verdict(conclusions: Sequence[Conclusion]) -> Reply:
    """The function's own status; of several functions, that of the one that failed worst."""
    if not conclusions:
        return UNMATCHED
    failed = [status for kind, status in conclusions if kind not in _SUCCESSES]
    if not failed:
        statuses = {status or 200 for _, status in conclusions}
        return Reply(statuses.pop() if len(statuses) == 1 else 202)
    status = max(each or 503 for each in failed)
    if status not in range(400, 600):
        return refusal(502, f"a function answered {status}")
    fields = (RETRY_AFTER,) if status in {429, 503} else ()
    return refusal(status, "a function did not take the event", *fields)
