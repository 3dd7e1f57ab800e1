"""Fuzzing without coverage: random bytes, and changes of those that gave something new."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

LONGEST = 160
_KEPT = 2000


def fuzz(
    one_input: Callable[[bytes], Hashable],
    rng: random.Random,
    rounds: Iterable[object],
    keep_crash_in: Path | None = None,
) -> int:
    """Try an input in each round, until there are no more rounds or one of them fails.

    Args:
        one_input: raises what is to be found; an input whose result was never seen before is
            kept, and changed into further ones.
        rng: decides everything.
        rounds: an infinite iterable that ends some time.
        keep_crash_in: the folder where an input that fails is kept as `crash-…`.

    Returns:
        How many inputs were tried.
    """
    kept: list[bytes] = []
    seen: set[Hashable] = set()
    tried = 0
    for tried, _ in enumerate(rounds, 1):  # noqa: B007  # how many there were is the result
        fresh = not kept or rng.random() < 0.5
        data = rng.randbytes(rng.randint(1, LONGEST)) if fresh else change(rng.choice(kept), rng)
        try:
            result = one_input(data)
        except BaseException:
            if keep_crash_in is not None:
                name = f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
                (keep_crash_in / name).write_bytes(data)
            raise
        if result not in seen and len(kept) < _KEPT:
            seen.add(result)
            kept.append(data)
    return tried


def change(data: bytes, rng: random.Random) -> bytes:
    """Some bytes replaced, put in, taken out or repeated."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.randint(0, 4))
        new = rng.choice([b"", rng.randbytes(end - start), rng.randbytes(1), data[start:end] * 2])
        data = data[:start] + new + data[end:]
    return data[:LONGEST]
