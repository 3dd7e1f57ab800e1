"""Reads records whose headers have names that are no UTF-8: one of them would stop its partition.

The library gives up a whole batch at such a name, each time that it is fetched. Here that batch is
read again by the library's slower half, with a mark in the name for each byte that is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib import import_module
from typing import Any

# Records decoded at once: fewer steps than one by one; a batch may have millions.
_AT_ONCE = 100


def forgive() -> None:
    """Put a forgiving reader in the place of the library's; where that has changed, leave it."""
    fetcher, memory, records, util = (
        import_module(f"aiokafka.{name}")
        for name in (
            "consumer.fetcher", "record.memory_records", "record.default_records", "record.util",
        )
    )  # fmt: skip
    fast = records.DefaultRecordBatch
    try:
        slow: Any = records._DefaultRecordBatchPy  # noqa: SLF001
        divide: Any = memory._MemoryRecordsPy  # noqa: SLF001
        number = util.decode_varint_py
    except AttributeError:
        return

    class Forgiving(slow):  # type: ignore[misc]
        _buffer: Any

        def _maybe_uncompress(self) -> None:
            slow._maybe_uncompress(self)  # noqa: SLF001
            self._buffer = _Lenient(self._buffer)

        def _read_msg(self) -> Any:
            return slow._read_msg(self, number)  # noqa: SLF001

    class Batch:
        """A batch, read by the faster half for as long as that can."""

        def __init__(self, data: memoryview) -> None:
            self._data, self._fast = data, fast(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._fast, name)

        def __next__(self) -> Any:
            return next(self._fast)

        def __iter__(self) -> Iterator[Any]:
            done = 0
            try:
                while records := [*itertools.islice(self._fast, _AT_ONCE)]:
                    yield from records
                    done += len(records)
            except Exception:  # what is wrong indeed is so for the other half too
                yield from itertools.islice(Forgiving(self._data), done, None)

    memory.DefaultRecordBatch = Batch  # type: ignore[attr-defined]
    fetcher.MemoryRecords = divide  # type: ignore[attr-defined]


class _Lenient(bytearray):
    def __getitem__(self, at: Any) -> Any:
        base: Any = super()
        found = base.__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:  # noqa: ARG002
        return super().decode(encoding, "replace")
