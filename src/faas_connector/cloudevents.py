"""CloudEvents 1.0 over HTTP: binary, structured and batched in, binary out. Pure.

Specification: https://github.com/cloudevents/spec, `cloudevents/bindings/http-protocol-binding.md`
and `cloudevents/formats/json-format.md`.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from faas_connector.event import Event
from faas_connector.headers import Headers, is_text

_T = TypeVar("_T")

PREFIX: Final = "ce-"
STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
MOST_BYTES: Final = 32 * 1024
"""Of the names and values of one event's attributes in JSON: as many as a request's head may have
in binary mode."""

_FAMILY = "application/cloudevents"
_VERSION = "1.0"
_REQUIRED = ("id", "source", "type")
_DATA = frozenset({"data", "data_base64"})
_CONTENT_TYPE = "datacontenttype"
_NAME = re.compile(r"[a-z0-9]+")
_ENCODED = re.compile(r"[^\x21\x23\x24\x26-\x7e]")
_ESCAPED = re.compile(r"\\(.)")
_Members = dict[str, msgspec.Raw]
_as_members = msgspec.json.Decoder(_Members)
_as_batch = msgspec.json.Decoder(list[_Members])
_as_attribute = msgspec.json.Decoder(str | bool | int | None)
_as_text = msgspec.json.Decoder(str)
_as_time = msgspec.json.Decoder(datetime)


class CloudEventError(Exception):
    """A request that holds no CloudEvent: answer with `status` and the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class CloudEvent(msgspec.Struct, frozen=True):
    """One event, whichever way it came."""

    fields: Mapping[str, str]
    """Its attributes as HTTP header fields, `ce-…`."""
    data: bytes
    content_type: str | None

    def attribute(self, name: str) -> str | None:
        """The value of an attribute; None where it has none."""
        value = self.fields.get(f"{PREFIX}{name}")
        return None if value is None else decoded(value)

    @property
    def identity(self) -> str:
        """What no other event has: source and id."""
        return f"{self.attribute('source')}\n{self.attribute('id')}"

    def event(self, topic: str, headers: Mapping[str, str]) -> Event:
        """The event for functions.

        Args:
            topic: of the event.
            headers: further ones.
        """
        return Event(
            topic,
            self.data,
            {**headers, **self.fields},
            self.content_type,
            id=self.attribute("id"),
            key=self.attribute("partitionkey"),
            time=_time(self.attribute("time")),
        )


def received(headers: Headers, body: bytes) -> list[CloudEvent]:
    """The events of a request.

    Raises:
        CloudEventError: it holds none.
    """
    content_type = headers.get("content-type")
    media = (content_type or "").partition(";")[0].strip().lower()
    if media == STRUCTURED:
        return [_of_members(_decode(_as_members, body))]
    if media == BATCHED:
        return [_of_members(members) for members in _decode(_as_batch, body)]
    if media.startswith(_FAMILY):
        raise CloudEventError(415, f"{media} is not known here; send JSON, or binary mode")
    fields = {
        name.lower(): value
        for name, value in headers.fields
        if name.lower().startswith(PREFIX) and is_text(value)
    }
    found = CloudEvent(
        fields, body, content_type if content_type and is_text(content_type) else None
    )
    return [_checked(found)]


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CloudEventError(400, "the body is no CloudEvent in JSON") from None


def _of_members(members: _Members) -> CloudEvent:
    fields, size = dict[str, str](), 0
    for name, raw in members.items():
        if name in _DATA:
            continue
        given = bytes(raw)
        size += len(name) + len(given)
        if size > MOST_BYTES:  # before any work is done for them
            raise _too_large()
        if name == _CONTENT_TYPE:
            continue
        if not _NAME.fullmatch(name):
            raise CloudEventError(400, "an attribute's name is lower-case letters and digits")
        value = _decode(_as_attribute, given)
        if isinstance(value, bool):
            fields[f"{PREFIX}{name}"] = "true" if value else "false"
        elif value is not None:
            fields[f"{PREFIX}{name}"] = encoded(str(value))
    if 3 * size > MOST_BYTES and sum(map(len, (*fields, *fields.values()))) > MOST_BYTES:
        raise _too_large()  # percent-encoded, which makes three of a byte
    content_type, data = _data(members)
    return _checked(CloudEvent(fields, data, content_type))


def _too_large() -> CloudEventError:
    most = MOST_BYTES // 1024
    return CloudEventError(413, f"the attributes of an event have over {most} KiB together")


def _data(members: _Members) -> tuple[str | None, bytes]:
    """Content type and body."""
    content_type = None
    if (given := members.get(_CONTENT_TYPE)) is not None and bytes(given) != b"null":
        content_type = _decode(_as_text, bytes(given))
        if not is_text(content_type):
            raise CloudEventError(400, "datacontenttype is no media type")
    data, base = members.get("data"), members.get("data_base64")
    if base is not None:
        if data is not None:
            raise CloudEventError(400, "there are both data and data_base64")
        try:
            return content_type, base64.b64decode(_decode(_as_text, bytes(base)), validate=True)
        except ValueError:
            raise CloudEventError(400, "data_base64 is no base64") from None
    if data is None:
        return content_type, b""
    raw = bytes(data)
    if not _is_json(content_type) and raw.startswith(b'"'):
        return content_type, _decode(_as_text, raw).encode("utf-8", "surrogatepass")
    return content_type or "application/json", raw


def _is_json(content_type: str | None) -> bool:
    """Whether `data` is JSON, and not a text (JSON format, 3.1)."""
    media = (content_type or "application/json").partition(";")[0].strip().lower()
    return media.endswith(("/json", "+json"))


def _checked(event: CloudEvent) -> CloudEvent:
    version = event.attribute("specversion")
    if version is None:
        raise CloudEventError(400, "this is no CloudEvent: it has no specversion")
    if version != _VERSION:
        raise CloudEventError(400, f"only CloudEvents {_VERSION} are known here")
    for name in _REQUIRED:
        if not event.attribute(name):
            raise CloudEventError(400, f"the CloudEvent has no {name}")
    return event


def encoded(value: str) -> str:
    """An attribute as a header field's value (HTTP binding, 3.1.3.2)."""
    return _ENCODED.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")),
        value,
    )


def decoded(value: str) -> str:
    """What a header field's value says."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPED.sub(r"\1", value[1:-1])
    if "%" not in value:
        return value
    return unquote_to_bytes(value).decode("utf-8", "replace")


def _time(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        time = _as_time.decode(msgspec.json.encode(value))
        time.astimezone(UTC)  # in the years 1 to 9999 there as well
    except (msgspec.DecodeError, OverflowError, ValueError):
        return None
    return time


def as_cloudevent(event: Event, *, source: str, position: str | None) -> Event:
    """The event with CloudEvents' fields (binary mode); one that has them stays as it is.

    Its type is the topic, its source `/SOURCE`, its id the position, which no other event of the
    source has; else the publisher's id; else a new one.

    Args:
        event: as it was read.
        source: the name of the source.
        position: the broker's own name of the event.
    """
    if any(name.lower() == "ce-specversion" for name in event.headers):
        return event
    fields = {
        "ce-specversion": _VERSION,
        "ce-id": encoded(position or event.id or str(uuid.uuid4())),
        "ce-source": encoded(f"/{source}"),
        "ce-type": encoded(event.topic),
    }
    if event.time is not None:
        fields["ce-time"] = event.time.isoformat().replace("+00:00", "Z")
    if event.key is not None:
        fields["ce-partitionkey"] = encoded(event.key)
    return msgspec.structs.replace(event, headers={**event.headers, **fields})
