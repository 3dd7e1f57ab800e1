"""What the store is given of events: for one function, for all that match, and of what is done."""

from __future__ import annotations

from faas_connector.intake import Tracked
from faas_connector.pursuit import Pending
from faas_connector.store import MAX_ANSWER_BYTES, Entry, Reason, State, Store

# Seconds after which a redelivery is no longer expected.
VERDICT_SECONDS = 7 * 24 * 3600.0
_JOURNAL = "journal/"


def journal_position(store: Store, entry_id: int) -> str:
    """What stands for the position of a journalled event that its broker gave none.

    Its calls are named after it: no other event may have it, in whichever store.
    """
    return f"{_JOURNAL}{store.identity}/{entry_id}"


def is_of_broker(position: str | None) -> bool:
    """Whether a position is a broker's own, so that the event may come again under it."""
    return position is not None and not position.startswith(_JOURNAL)


def function_entry(
    tracked: Tracked,
    pending: Pending,
    state: State,
    reason: Reason | None,
    *,
    due: float = 0.0,
    now: float,
) -> Entry:
    """The entry of an event for one function."""
    outcome, response = pending.outcome, pending.response
    return Entry(
        id=pending.entry_id,
        state=state,
        source=tracked.source,
        position=tracked.key[1] if tracked.key else None,
        function=pending.function,
        event=tracked.event,
        ordered=bool(tracked.tickets) and pending.function in (tracked.tickets or ()),
        call_id=pending.call_id,
        due=due,
        attempts=pending.attempts,
        calls=pending.calls,
        mode=pending.mode if state is State.PARKED and pending.calls else None,
        reason=reason,
        status=outcome.status if outcome else None,
        what=outcome.what if outcome else "",
        answer=response.body[:MAX_ANSWER_BYTES] if response else b"",
        first=pending.first,
        last=now,
    )


def whole_entry(
    tracked: Tracked,
    state: State,
    reason: Reason | None,
    *,
    due: float = 0.0,
    now: float,
    what: str = "",
) -> Entry:
    """The entry of an event for all its functions, or for the only one it is for."""
    position = tracked.key[1] if tracked.key else None
    return Entry(
        id=tracked.entry_id,
        state=state,
        source=tracked.source,
        position=position if is_of_broker(position) else None,
        function=tracked.delivery.function,
        event=tracked.event,
        ordered=state is State.PARKED and tracked.event.key is not None,
        due=due,
        reason=reason,
        what=what,
        first=tracked.first,
        last=now,
    )


def done_entry(tracked: Tracked, pending: Pending, now: float) -> Entry:
    """The verdict of a success, in place of the entry that it had."""
    assert tracked.key is not None  # noqa: S101
    source, position = tracked.key
    return Entry(
        id=pending.entry_id,
        state=State.DONE,
        source=source,
        position=position,
        function=pending.function,
        event=None,
        call_id=pending.call_id,
        due=now + VERDICT_SECONDS,
        first=tracked.first,
        last=now,
    )
