"""Header fields of calls, made of what comes with a broker's message."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from faas_connector.headers import encode_field, is_text

_NO_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
MOST_BYTES = 32 * 1024
"""Of the names and values of one message; what is beyond is left out."""


# A longer name, which a publisher may give anew each time, is not remembered.
_LONGEST_REMEMBERED = 256


def field_name(prefix: str, name: str) -> str:
    """The prefixed name, with `-` for what no field name may hold.

    Example:
        >>> field_name("X-Kafka-", "trace id")
        'X-Kafka-trace-id'
    """
    if len(name) > _LONGEST_REMEMBERED:
        return _remembered_name.__wrapped__(prefix, name)
    return _remembered_name(prefix, name)


@functools.lru_cache(maxsize=4096)
def _remembered_name(prefix: str, name: str) -> str:
    return prefix + (_NO_TOKEN.sub("-", name) or "-")


def fields(
    prefix: str,
    own: Mapping[str, str | bytes | None],
    sent: Iterable[tuple[str, str | bytes | None]] = (),
) -> dict[str, str]:
    """The fields of one message: the source's own, and those its publisher sent.

    A value that is no header text goes as base64, with `<name>-Enc: b64` beside it. Of several with
    one name (case ignored) the last counts; the source's own can't be replaced. Where they are too
    large together, `<prefix>Truncated` says how many of the publisher's were left out.

    Args:
        prefix: what each name begins with.
        own: what the source says of the message, by the name without prefix; what has no value
            here gives no field, and its publisher can't give it one either.
        sent: what its publisher gave it.
    """
    found = {prefix + name: value for name, value in own.items() if value is not None}
    sent = list(sent)
    if not sent:
        return _encoded(found.items())
    names = [f"{prefix}{name}".lower() for name in (*own, "Truncated")]
    reserved = {f"{name}{end}" for name in names for end in ("", "-enc")}
    by_name: dict[str, tuple[str, str | bytes]] = {}
    for name, value in sent:
        full = field_name(prefix, name)
        if full.lower() not in reserved:
            by_name[full.lower()] = full, value or ""
    size = left_out = 0
    for full, value in by_name.values():
        size += len(full) + len(value) + 4
        if size > MOST_BYTES:
            left_out += 1
        else:
            found[full] = value
    if left_out:
        found[f"{prefix}Truncated"] = str(left_out)
    return _encoded(found.items())


def _encoded(found: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    plain: dict[str, str] = {}
    encoded: dict[str, str] = {}
    marks: set[str] = set()
    for name, value in found:
        text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
        if is_text(text):
            plain[name] = text
        else:
            field, mark = encode_field(name, text)
            encoded.update((field, mark))
            marks.add(mark[0].lower())
    if not marks:
        return plain
    # What its publisher called so says nothing of our encoding.
    return {name: value for name, value in plain.items() if name.lower() not in marks} | encoded
