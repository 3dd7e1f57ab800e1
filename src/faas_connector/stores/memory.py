"""A store that forgets everything with its process: for tests."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import msgspec

from faas_connector.errors import StoreError, StoreFullError
from faas_connector.names import FunctionName
from faas_connector.store import (
    WHOEVER_ASKS,
    Entry,
    Query,
    State,
    StoreCounts,
    finished,
    fits,
    in_turn,
    once_entry,
    within,
)
from faas_connector.stores.codec import journal_bytes


class MemoryStore:
    """Keeps entries in memory, under the rules of every store.

    Example:
        >>> store = MemoryStore()
        >>> store.fail_with = StoreError("no space left on the disk")
    """

    def __init__(self, *, max_journal_bytes: int | None = None) -> None:
        """Start empty.

        Args:
            max_journal_bytes: over which JOURNAL entries are refused; None for no limit.
        """
        self.fail_with: StoreError | None = None
        """What every method raises while it is set; nothing is kept then."""
        self.identity = uuid.uuid4().hex
        """Tells this store from all others."""
        self._max_journal_bytes = max_journal_bytes
        self._entries: dict[int, Entry] = {}
        self._last_id = 0
        self._journal_size = 0

    async def write(self, puts: Sequence[Entry] = (), removes: Sequence[int] = ()) -> list[int]:
        """Remove and put entries, all or none, and return the ids of `puts`."""
        self._check()
        changes: dict[int, Entry | None] = dict.fromkeys(removes)
        last_id = self._last_id
        ids = list[int]()
        for entry in puts:
            number = entry.id or last_id + 1
            last_id = max(last_id, number)
            changes[number] = self._stored(entry, number)
            ids.append(number)
        before = sum(_size(self._entries.get(number)) for number in changes)
        growth = sum(map(_size, changes.values())) - before
        self._refuse_over_limit(growth)
        self._journal_size += growth
        self._last_id = last_id
        for number, change in changes.items():
            if change is not None:
                self._entries[number] = change
            else:
                self._entries.pop(number, None)
        return ids

    async def append(self, entries: Sequence[Entry]) -> list[int | StoreError]:
        """Put new JOURNAL entries, each by itself; see `Store.append`."""
        self._check()
        results = list[int | StoreError]()
        for entry in entries:
            try:
                results += await MemoryStore.write(self, [entry])
            except StoreFullError as refusal:
                results.append(refusal)
        return results

    async def write_once(self, entry: Entry, key: str, *, now: float, until: float) -> int | None:
        """Put a new entry, unless its source has this key; see `Store.write_once`."""
        self._check()
        remembered = once_entry(entry.source, key, now, until)
        place = (remembered.source, remembered.position)
        if any(
            (each.source, each.position) == place and each.due > now
            for each in self._entries.values()
        ):
            return None
        return (await self.write([entry, remembered]))[0]

    async def finish(
        self,
        ids: Sequence[int],
        *,
        until: float,
        puts: Sequence[Entry] = (),
        removes: Sequence[int] = (),
        synced: bool = True,  # noqa: ARG002
    ) -> None:
        """Make entries of functions DONE until then; see `Store.finish`."""
        self._check()
        found = [self._entries[number] for number in ids if number in self._entries]
        await self.write([*(finished(entry, until) for entry in found), *puts], removes)

    async def sync(self) -> None:
        """There is no disk."""
        self._check()

    def _stored(self, entry: Entry, number: int) -> Entry:
        before = self._entries.get(number)
        event, damage = entry.event, entry.damage
        if event is None and damage and before is not None:
            event = before.event
        return msgspec.structs.replace(
            entry, id=number, event=event, damage=damage if event is None else ""
        )

    def _refuse_over_limit(self, growth: int) -> None:
        limit, size = self._max_journal_bytes, self._journal_size + growth
        if limit is not None and growth > 0 and size > limit:
            raise StoreFullError(
                f"the journal in memory would hold {size} bytes and may hold {limit}: "
                "it takes events again when others are settled, or raise max_journal_bytes"
            )

    async def known(self, source: str, position: str) -> list[Entry]:
        """The entries of one event of a source, in any state, without their events."""
        self._check()
        return [
            msgspec.structs.replace(entry, event=None, damage="")
            for entry in self._in_order()
            if (entry.source, entry.position) == (source, position)
        ]

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
        """JOURNAL entries in the order of their ids, then PARKED ones."""
        self._check()
        journal = [
            entry
            for entry in self._in_order()
            if entry.state is State.JOURNAL
            and entry.id not in held
            and entry.function not in paused
        ]
        if only is not None:
            journal = []
        ids = defaultdict[FunctionName | None, list[int]](list)
        for at, number in self._parked(held, paused):
            function = self._entries[number].function
            if at <= now and only in {None, function}:
                ids[function].append(number)
        parked = in_turn(ids.values(), max(0, limit - len(journal)))
        due = [*journal, *map(self._entries.__getitem__, parked)]
        return within(due[:limit], max_bytes)

    async def next_due(
        self, *, held: Collection[int] = (), paused: Collection[FunctionName] = ()
    ) -> float | None:
        """From when on `due` has a PARKED entry, asked the same; None where it never will."""
        self._check()
        return min((at for at, _ in self._parked(held, paused)), default=None)

    def _parked(
        self, held: Collection[int], paused: Collection[FunctionName]
    ) -> Iterator[tuple[float, int]]:
        """When each parked entry and all before it in its chain are due, and its id."""
        chains = dict[tuple[FunctionName, str], float]()
        for entry in self._in_order():
            if entry.state is not State.PARKED or entry.id in held or entry.function in paused:
                continue
            at, chain = entry.due, _chain(entry)
            if chain is not None:
                at = chains[chain] = max(at, chains.get(chain, -math.inf))
            yield at, entry.id

    async def chains(self) -> list[tuple[FunctionName, str, int]]:
        """How many ordered entries are parked: (function, key, count)."""
        self._check()
        counts = dict[tuple[FunctionName, str], int]()
        for entry in self._entries.values():
            if (chain := _chain(entry)) is not None:
                counts[chain] = counts.get(chain, 0) + 1
        return [(*chain, count) for chain, count in sorted(counts.items())]

    async def select(self, query: Query) -> list[Entry]:
        """The entries that fit, in the order of their ids; ask for many in parts (`limit`)."""
        self._check()
        return [entry for entry in self._in_order() if fits(query, entry)][: query.limit]

    async def claim(
        self,
        query: Query,
        *,
        seconds: float,  # noqa: ARG002
        max_bytes: float = math.inf,
    ) -> list[Entry]:
        """Like `select`: there are no others who could take anything."""
        return within(await self.select(query), max_bytes)

    async def release(self, ids: Collection[int]) -> None:  # noqa: ARG002
        """Give claimed entries back."""
        self._check()

    async def counts(self) -> StoreCounts:
        """How much there is."""
        self._check()
        states = [entry.state for entry in self._entries.values()]
        return StoreCounts(
            parked=states.count(State.PARKED),
            journal=states.count(State.JOURNAL),
            journal_bytes=self._journal_size,
            dead=states.count(State.DEAD),
            done=states.count(State.DONE),
        )

    async def forget(self, now: float) -> int:
        """Remove the DONE entries whose time is over; how many there were."""
        self._check()
        over = [
            entry.id
            for entry in self._entries.values()
            if entry.state is State.DONE and entry.due <= now
        ]
        for number in over:
            del self._entries[number]
        return len(over)

    @property
    def has_verdicts(self) -> bool:
        """Whether an entry that is no JOURNAL entry has a position."""
        return any(
            entry.position is not None and entry.state is not State.JOURNAL
            for entry in self._entries.values()
        )

    def _in_order(self) -> list[Entry]:
        return [entry for _, entry in sorted(self._entries.items())]

    def _check(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with


def _size(entry: Entry | None) -> int:
    return journal_bytes(entry) if entry is not None and entry.state is State.JOURNAL else 0


def _chain(entry: Entry) -> tuple[FunctionName, str] | None:
    """The function and key whose order a parked entry keeps."""
    if entry.state is not State.PARKED or not entry.ordered:
        return None
    if entry.event is None or entry.event.key is None:
        return None
    return entry.function or WHOEVER_ASKS, entry.event.key
