"""Replays what was exported to a file."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from faas_connector.dead_letters.lines import UnreadableLine, read_lines
from faas_connector.dead_letters.shelf import Fate, Settled, Split
from faas_connector.disk import sync_folder
from faas_connector.errors import StoreError, StoreLockedError
from faas_connector.planning import from_outside
from faas_connector.store import Entry, Query, State, fits, within


class FileShelf:
    """Dead letters that were exported to a file, which is not changed.

    What succeeds is noted in a second file beside it, so that replaying the file again sends only
    the rest. An entry's id is the number of its line.
    """

    def __init__(
        self,
        file: Iterable[bytes],
        query: Query,
        *,
        notes: Path,
        unreadable: Callable[[UnreadableLine], None],
    ) -> None:
        """Prepare.

        Args:
            file: its lines.
            query: which ones; its state and ids are not looked at.
            notes: where to note what succeeded.
            unreadable: is told each line that is no dead letter.
        """
        self.noted = 0
        """Entries that were passed over, since an earlier replay has sent them."""
        self._lines = read_lines(file)
        self._query = msgspec.structs.replace(query, ids=None, limit=None)
        self._wanted = query.limit
        self._path = notes
        self._unreadable = unreadable
        self._file: BinaryIO | None = None
        self._known = set[bytes]()
        self._digests = dict[int, bytes]()
        self._parted = set[int]()

    def __enter__(self) -> Self:
        """Open the notes, and keep other replays of the same file away.

        Raises:
            StoreLockedError: another replay of this file is running.
            StoreError: the notes can't be opened.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise StoreError(
                f"can't open {str(self._path)!r} ({error.strerror}), where it is noted what was "
                "replayed; copy the dead letters to a folder that you may write to"
            ) from error
        file = os.fdopen(descriptor, "rb+", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = file.read()
            self._known = set(text.split(b"\n"))
            if text and not text.endswith(b"\n"):
                file.write(b"\n")  # whoever wrote last was killed
        except OSError as error:
            file.close()
            raise StoreLockedError(
                f"another replay of this file is running (it has locked {str(self._path)!r}); "
                "wait until it has ended"
            ) from error
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        if not os.fstat(self._file.fileno()).st_size:
            self._path.unlink(missing_ok=True)
        self._file.close()
        self._file = None

    def take(self, limit: int, max_bytes: int) -> asyncio.Task[list[Entry]]:
        """The next lines."""
        return asyncio.create_task(self._take(limit, max_bytes), name="dead letters")

    async def _take(self, limit: int, max_bytes: int) -> list[Entry]:
        if self._wanted is not None:
            limit = min(limit, self._wanted)
        found = within(islice(self._next(), limit), max_bytes)
        if self._wanted is not None:
            self._wanted -= len(found)
        return found

    def _next(self) -> Iterator[Entry]:
        for number, line, found in self._lines:
            if isinstance(found, UnreadableLine):
                self._unreadable(found)
                continue
            entry = _of_line(found, number, self._query.state)
            if not fits(self._query, entry):
                continue
            digest = hashlib.blake2b(line, digest_size=16).hexdigest().encode()
            if digest in self._known:
                self.noted += 1
                continue
            self._digests[number] = digest
            yield entry

    async def split(self, split: Sequence[Split]) -> list[list[Entry]]:
        """The parts that no earlier replay has sent."""
        still = list[list[Entry]]()
        for entry, parts in split:
            self._parted.add(entry.id)
            numbered = (msgspec.structs.replace(part, id=entry.id) for part in parts)
            still.append([part for part in numbered if self._note(part) not in self._known])
            self.noted += not still[-1]
        return still

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Note what is done."""
        done = [each.entry for each in settled if each.fate is Fate.REPLAYED]
        if self._file is not None and done:
            try:
                _write(self._file, b"".join(self._note(entry) + b"\n" for entry in done))
            except OSError as error:
                raise self._not_noted(error) from error
        for each in settled:
            if each.entry.id not in self._parted:
                del self._digests[each.entry.id]

    def _not_noted(self, error: OSError) -> StoreError:
        return StoreError(
            f"can't note in {str(self._path)!r} what was replayed ({error.strerror}); "
            "what has just succeeded would be sent again"
        )

    async def sync(self) -> None:
        """Have the notes on disk."""
        if self._file is not None:
            try:
                await asyncio.to_thread(_sync, self._file, self._path.parent)
            except OSError as error:
                raise self._not_noted(error) from error

    def _note(self, entry: Entry) -> bytes:
        digest = self._digests[entry.id]
        # Of an entry for all functions, each function is noted by itself.
        return digest + f" {entry.function}".encode() if entry.id in self._parted else digest

    def holds(self, entry: Entry) -> bool:  # noqa: ARG002
        """Always: nobody else replays this file."""
        return True

    async def renew(self) -> None:
        """Nothing to do."""

    async def give_back(self) -> None:
        """Nothing to do."""


def _sync(file: BinaryIO, folder: Path) -> None:
    """Have on disk what is in a file, and that it is there at all."""
    os.fsync(file.fileno())
    sync_folder(folder)


def _write(file: BinaryIO, text: bytes) -> None:
    """All of it: where the disk is nearly full, only a part of it may be taken at first."""
    while text:
        text = text[file.write(text) :]


def _of_line(found: Entry, number: int, state: State) -> Entry:
    """As if it came from a store: nobody has looked at the headers of what stands in a file."""
    event, damage = None if found.event is None else from_outside(found.event), found.damage
    if event is None and found.stored is not None:
        damage = f"{damage}; what is left of it is `stored` in the line: make it the line's `event`"
    return msgspec.structs.replace(found, id=number, state=state, event=event, damage=damage)
