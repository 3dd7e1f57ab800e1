"""What the gateway's `/system` routes answer: only the fields that a connector needs.

There may be many functions: their structs are kept from the garbage collector, which would look
through all of them; they hold text and numbers, and so no cycle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec


class FunctionStatus(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One function of `GET /system/functions` (gateway contract, section 10)."""

    name: str = ""
    namespace: str = ""
    image: str = ""
    annotations: dict[str, str] | None = None
    replicas: int = 0
    available_replicas: int = 0


class _LooseStatus(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str | None = None
    image: str | None = None
    annotations: dict[str, Any] | None = None
    replicas: float | None = None
    available_replicas: float | None = None


class GatewayInfo(msgspec.Struct, frozen=True):
    """What `GET /system/info` tells; empty where the gateway doesn't say."""

    provider: str = ""
    orchestration: str = ""
    release: str = ""
    arch: str = ""


_list = msgspec.json.Decoder(list[msgspec.Raw] | None)
_strict = msgspec.json.Decoder(FunctionStatus | None)
_loose = msgspec.json.Decoder(_LooseStatus | None)
_names = msgspec.json.Decoder(list[str] | None)
_anything = msgspec.json.Decoder(dict[str, Any])


def split_functions(body: bytes) -> list[msgspec.Raw]:
    """The entries of a list of functions, not decoded; `null` is an empty one.

    Raises:
        msgspec.DecodeError: it is no list.
    """
    return _list.decode(body) or []


def decode_functions(entries: Iterable[msgspec.Raw]) -> list[FunctionStatus]:
    """Read entries of a list of functions; those without a name are left out.

    An annotation whose value is no text is read as its JSON text: one odd function must not hide
    all the others.

    Raises:
        msgspec.DecodeError: one of them is no function.
    """
    return [status for entry in entries if (status := _status(entry)) and status.name]


def _status(entry: msgspec.Raw) -> FunctionStatus | None:
    try:
        status: FunctionStatus | None = _strict.decode(entry)
    except msgspec.ValidationError:
        loose: _LooseStatus | None = _loose.decode(entry)
    else:
        return status
    if loose is None:
        return None
    annotations = {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for key, value in (loose.annotations or {}).items()
    }
    return FunctionStatus(
        loose.name,
        loose.namespace or "",
        loose.image or "",
        annotations,
        int(loose.replicas or 0),
        int(loose.available_replicas or 0),
    )


def decode_namespaces(body: bytes) -> list[str]:
    """Read a list of namespaces; `null` and an empty body are an empty one.

    Raises:
        msgspec.DecodeError: it is no list of names.
    """
    return [name for name in (_names.decode(body) if body.strip() else None) or () if name]


def decode_info(body: bytes) -> GatewayInfo:
    """Read `/system/info`; `provider` may be null when the provider is down.

    Raises:
        msgspec.DecodeError: it is no JSON object.
    """
    info = _anything.decode(body)
    provider = _object(info.get("provider"))
    release = _object(info.get("version")).get("release")
    return GatewayInfo(
        str(provider.get("provider") or ""),
        str(provider.get("orchestration") or ""),
        str(release or ""),
        str(info.get("arch") or ""),
    )


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
