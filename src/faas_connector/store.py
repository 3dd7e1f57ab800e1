"""What is kept until it is done: parked events, dead letters, verdicts and the journal."""

from __future__ import annotations

import enum
import math
from collections.abc import Awaitable, Collection, Iterable, Sequence
from itertools import chain, islice, zip_longest
from typing import Protocol

import msgspec

from faas_connector.errors import StoreError
from faas_connector.event import Event
from faas_connector.names import FunctionName, Invocation


class State(enum.Enum):
    """Why an entry is kept."""

    PARKED = "parked"
    """It waits for its next attempt, or for its function."""
    JOURNAL = "journal"
    """It was accepted from a source that can't redeliver, and is not settled yet."""
    DEAD = "dead"
    """It failed for good, and waits for somebody to replay or remove it."""
    DONE = "done"
    """A verdict: the function has it. Kept so that a redelivery doesn't repeat the call."""


class Reason(enum.Enum):
    """Why an event is parked or dead."""

    BACKOFF = "backoff"
    """Parked: its next attempt is some time away."""
    PAUSED = "paused"
    """Parked: its function fails throughout."""
    ABSENT = "absent"
    """Parked: its function is asleep, or missing from the gateway's list."""
    ORDER = "order"
    """Parked: an earlier event of its key is."""
    DEADLINE = "deadline"
    """Parked: its broker would wait no longer."""
    HELD = "held"
    """Parked: no function asks for its topic."""
    REFUSED = "refused"
    """Dead: the answer says that it will never go better."""
    ATTEMPTS = "attempts"
    """Dead: every attempt failed."""
    EXPIRED = "expired"
    """Dead: it failed and is older than `retry.max_age`."""
    FUNCTION_REMOVED = "function-removed"
    """Dead: its function was missing for longer than `forget_after`."""
    UNMATCHED = "unmatched"
    """Dead: no function asked for its topic."""
    UNREADABLE = "unreadable"
    """Dead: no event could be made of what the source read."""


ONCE = "once/"
"""What the position begins with under which a key is remembered."""
WHOEVER_ASKS = FunctionName("")
"""What stands for the function of an entry that is for all that match."""
MAX_ANSWER_BYTES = 4096
"""Bytes of an answer that are kept with an entry."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """The bytes that stand in the store of an event which can't be decoded."""

    topic: bytes = b""
    key: bytes = b""
    head: bytes = b""
    """What else belongs to it, as the store writes it: a checksum, the headers and the like."""
    data: bytes = b""
    """The body."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event for one function, or for all that match (`function` is None), and how it stands.

    Times are seconds since the epoch.
    """

    state: State
    source: str
    """The name of the source."""
    event: Event | None
    """None for a verdict, and for what can't be decoded (see `damage`)."""
    id: int = 0
    """Given by the store, rising in the order of writing; 0 for a new entry."""
    position: str | None = None
    """The broker's name of the event within the source."""
    function: FunctionName | None = None
    ordered: bool = False
    """Whether it waits for earlier entries of the same function (or of none) and key."""
    call_id: str = ""
    """The `X-Call-Id` of its calls; empty where there was none yet."""
    due: float = 0.0
    """PARKED: when it is tried next. DONE: when it is forgotten."""
    attempts: int = 0
    """Calls that were charged to it."""
    calls: int = 0
    """Calls that were made, outages included."""
    mode: Invocation | None = None
    """PARKED: the route of its calls; None where there was none yet."""
    reason: Reason | None = None
    status: int | None = None
    """Of the last answer; None where there was none."""
    what: str = ""
    """What the last answer was, or why there was none; one line."""
    answer: bytes = b""
    """The last answer's body, cut to `MAX_ANSWER_BYTES`."""
    first: float = 0.0
    """When the event was read."""
    last: float = 0.0
    """When this entry was written last."""
    damage: str = ""
    """Why the stored event can't be decoded; empty where it can."""
    stored: Stored | None = None
    """What there is of an event that can't be decoded; not written, since it stays as it is."""


def in_turn(due: Iterable[Sequence[int]], limit: int) -> list[int]:
    """So many ids of all, one of each at a time: one with very many leaves room for others."""
    turns = chain.from_iterable(zip_longest(*due))
    return sorted(islice((number for number in turns if number is not None), limit))


def once_entry(source: str, key: str, now: float, until: float) -> Entry:
    """What remembers a key: it looks like the verdict of a position that no broker gives."""
    return Entry(
        state=State.DONE,
        source=source,
        position=f"{ONCE}{key}",
        event=None,
        due=until,
        first=now,
        last=now,
    )


def finished(entry: Entry, until: float) -> Entry:
    """What is left of an entry that is done with, where its event may come again."""
    return Entry(
        id=entry.id,
        state=State.DONE,
        source=entry.source,
        position=entry.position,
        function=entry.function,
        event=None,
        due=until,
        first=entry.first,
        last=entry.last,
    )


def within(entries: Iterable[Entry], max_bytes: float) -> list[Entry]:
    """The first of them, until their events' bodies have so many bytes."""
    found, size = list[Entry](), 0
    for entry in entries:
        found.append(entry)
        size += len(entry.event.data) if entry.event is not None else 0
        if size >= max_bytes:
            break
    return found


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are meant: all that every given field fits."""

    state: State = State.DEAD
    ids: tuple[int, ...] | None = None
    function: str | None = None
    """A function's name, with or without its namespace."""
    namespace: str | None = None
    topic: str | None = None
    source: str | None = None
    reason: Reason | None = None
    since: float | None = None
    """Written last at this time or later."""
    until: float | None = None
    """Written last before this time."""
    after_id: int = 0
    limit: int | None = None


def fits(query: Query, entry: Entry) -> bool:
    """Whether a query means this entry; `limit` aside."""
    function, event = entry.function, entry.event
    return (
        entry.state is query.state
        and (query.ids is None or entry.id in query.ids)
        and (
            query.function is None
            or (function is not None and query.function in {function.name, str(function)})
        )
        and (
            query.namespace is None
            or (function is not None and function.namespace == query.namespace)
        )
        and (query.topic is None or (event is not None and event.topic == query.topic))
        and (query.source is None or entry.source == query.source)
        and (query.reason is None or entry.reason is query.reason)
        and (query.since is None or entry.last >= query.since)
        and (query.until is None or entry.last < query.until)
        and entry.id > query.after_id
    )


class StoreCounts(msgspec.Struct, frozen=True):
    """How much a store holds."""

    parked: int = 0
    journal: int = 0
    journal_bytes: int = 0
    dead: int = 0
    done: int = 0


class Store(Protocol):
    """Keeps entries. What a method has returned from is on disk; what it raised from is not.

    Every method raises StoreError where the store can't read or write; it may be called again.
    """

    async def write(self, puts: Sequence[Entry] = (), removes: Sequence[int] = ()) -> list[int]:
        """Put and remove entries, all or none, and return the ids of `puts`.

        An entry with an id replaces the one that has it; where that one was removed, it is back.
        One without event but with `damage` leaves the stored event as it is. Writes take effect in
        the order of the calls.

        Raises:
            StoreFullError: the journal's size limit leaves no room for a JOURNAL entry.
        """
        ...

    async def append(self, entries: Sequence[Entry]) -> list[int | StoreError]:
        """Put new JOURNAL entries, each by itself: its id, or why it was not put.

        That is a StoreFullError where the journal's size limit leaves no room for it.
        """
        ...

    async def write_once(self, entry: Entry, key: str, *, now: float, until: float) -> int | None:
        """Put a new entry, unless its source has this key, and return its id.

        Entry and key are written together. With the same source and key nothing is written before
        `until`, in whichever process, and None is returned.

        Args:
            entry: without an id.
            key: of the publisher: a delivery id, a scheduled time.
            now: seconds since the epoch.
            until: when the key is forgotten; seconds since the epoch.

        Raises:
            StoreFullError: as `write`.
        """
        ...

    async def finish(
        self,
        ids: Sequence[int],
        *,
        until: float,
        puts: Sequence[Entry] = (),
        removes: Sequence[int] = (),
        synced: bool = True,
    ) -> None:
        """Make entries of functions DONE until then; of these nothing is kept but whose they were.

        An id that is not there is passed over. Other entries are put and removed with it, all or
        none. Claims of all these end.

        Args:
            ids: of the entries that are done with.
            until: when they are forgotten; seconds since the epoch.
            puts: as `write` puts them; of other entries.
            removes: ids of yet others.
            synced: False to return once it outlives this process, though not a power cut. It is on
                disk when a later `sync` has returned, or another method that writes, but `claim`.

        Raises:
            StoreFullError: as `write`.
        """
        ...

    def sync(self) -> Awaitable[None]:
        """Have on disk what was written before without that; work that comes with it goes first.

        It is asked for at once, not when it is awaited.
        """
        ...

    async def known(self, source: str, position: str) -> list[Entry]:
        """The entries of one event of a source, in any state, without their events."""
        ...

    async def due(
        self,
        now: float,
        *,
        limit: int,
        held: Collection[int] = (),
        paused: Collection[FunctionName] = (),
        only: FunctionName | None = None,
        max_bytes: float = math.inf,
    ) -> list[Entry]:
        """JOURNAL entries, then PARKED ones that are due, each in the order of their ids.

        With more of the latter than fit, there are as many of each function as of the others.
        An ordered entry is left out while an earlier ordered one of its function and key is parked
        and not due yet. (One that is `held` doesn't hold it back.)

        Args:
            now: seconds since the epoch.
            limit: of entries.
            held: ids that the caller has already.
            paused: functions whose entries are left out.
            only: all but this function's entries are left out; None for none.
            max_bytes: of their events' bodies, after which no more are read; one always is.
        """
        ...

    async def next_due(
        self, *, held: Collection[int] = (), paused: Collection[FunctionName] = ()
    ) -> float | None:
        """From when on `due` has a PARKED entry, asked the same; None where it never will."""
        ...

    async def chains(self) -> list[tuple[FunctionName, str, int]]:
        """How many ordered entries are parked: (function or `WHOEVER_ASKS`, key, count)."""
        ...

    async def select(self, query: Query) -> list[Entry]:
        """The entries that fit, in the order of their ids; ask for many in parts (`limit`)."""
        ...

    def claim(
        self, query: Query, *, seconds: float, max_bytes: float = math.inf
    ) -> Awaitable[list[Entry]]:
        """Like `select`, and mark them as taken for some seconds; leaves out what others took.

        That outlives this process, though not a power cut. It is asked for at once, not when it is
        awaited, and so shares a transaction with what is asked for next.
        A claim ends with `write` (of that entry), with `release`, or with time. Claiming again
        what one has claimed renews it.

        Args:
            query: which ones.
            seconds: after which others may take them.
            max_bytes: of their events' bodies, after which no more are read; one always is.
        """
        ...

    async def release(self, ids: Collection[int]) -> None:
        """Give claimed entries back."""
        ...

    async def counts(self) -> StoreCounts:
        """How much there is."""
        ...

    async def forget(self, now: float) -> int:
        """Remove the DONE entries whose time is over; how many there were."""
        ...

    @property
    def identity(self) -> str:
        """Tells this store from all others, whose ids may be the same; it never changes."""
        ...

    @property
    def has_verdicts(self) -> bool:
        """Whether `known` could find anything for any position; told without waiting."""
        ...
