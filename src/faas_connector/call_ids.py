"""Names of calls, the same in the gateway's and the function's logs: UUIDs."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from typing import Any

from faas_connector.names import FunctionName

# A system call for each call id would cost as much as a match.
_IDS_AT_A_TIME = 256
# The bits that say how the UUID is laid out: its version and its variant (RFC 9562, 5.4).
_SET = int.from_bytes(bytes.fromhex("00000000000040008000000000000000") * _IDS_AT_A_TIME)
_KEPT = int.from_bytes(bytes.fromhex("ffffffffffff0fff3fffffffffffffff") * _IDS_AT_A_TIME)


def call_ids() -> Iterator[str]:
    """Random UUIDs (RFC 9562, version 4) without end, at a sixth of the cost of `uuid.uuid4`."""
    size = 16 * _IDS_AT_A_TIME
    while True:
        random = int.from_bytes(os.urandom(size)) & _KEPT | _SET
        digits = random.to_bytes(size).hex("-", 2)  # groups of four, of which a UUID joins some
        for at in range(0, len(digits), 40):
            first, middle = digits[at : at + 4], digits[at + 5 : at + 29]
            yield f"{first}{middle}{digits[at + 30 : at + 34]}{digits[at + 35 : at + 39]}"


# A hexadecimal digit with its upper two bits set to 10, as the UUID's variant has them.
_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}
# Any UUID does, as long as it stays the same (RFC 9562, 5.5): it sets our names apart from others'.
_NAMESPACE = bytes.fromhex("8f6e4c1a9d2b4f0e8a7c3b5d1e2f4a60")


@functools.lru_cache(maxsize=4096)
def _begun_id(source: str, function: FunctionName) -> Any:
    begin = f"{source}\0{function}\0".encode("utf-8", "surrogatepass")
    return hashlib.sha1(_NAMESPACE + begin, usedforsecurity=False)


def stable_call_id(source: str, position: str, function: FunctionName) -> str:
    """The UUID (RFC 9562, version 5) of all calls of one event of a source to one function."""
    digest = _begun_id(source, function).copy()
    digest.update(position.encode("utf-8", "surrogatepass"))
    text = digest.hexdigest()
    variant = _VARIANT[text[16]]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"
