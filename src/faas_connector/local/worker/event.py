"""What a handler gets and returns, as the official templates (Flask on a WSGI server) have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeGuard, cast

Fields: TypeAlias = tuple[tuple[str, str], ...]
Response: TypeAlias = tuple[int, list[tuple[str, str]], bytes]

HTML = ("Content-Type", "text/html; charset=utf-8")
JSON = ("Content-Type", "application/json")


class BadResponseError(Exception):
    """What the handler returned can't be an answer; the message says why."""


class EventHeaders:
    """Header fields: names in any case, repeated ones joined, iterated as pairs."""

    def __init__(self, fields: Fields) -> None:
        self._fields: dict[str, str] = {}
        for name, value in fields:
            title = name.title()
            known = self._fields.get(title)
            self._fields[title] = value if known is None else f"{known}, {value}"

    def get(self, name: str, default: Any = None, type: Any = None) -> Any:  # noqa: A002
        """The value, `default` when it is absent or `type` can't convert it."""
        return _convert(self._fields.get(name.title()), default, type)

    def getlist(self, name: str) -> list[str]:
        return [self._fields[name.title()]] if name in self else []

    get_all = getlist

    def keys(self) -> Iterable[str]:
        return self._fields.keys()

    def values(self) -> Iterable[str]:
        return self._fields.values()

    def items(self) -> Iterable[tuple[str, str]]:
        return self._fields.items()

    def to_wsgi_list(self) -> list[tuple[str, str]]:
        return list(self._fields.items())

    def __getitem__(self, name: str) -> str:
        return self._fields[name.title()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.title() in self._fields

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields.items())

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"EventHeaders({list(self._fields.items())!r})"


class Query(dict[str, str]):
    """The query: a dict of first values; `getlist` gives every one."""

    def __init__(self, text: str) -> None:
        from urllib.parse import parse_qsl  # noqa: PLC0415  (not every handler asks for it)

        self._lists: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            self._lists.setdefault(name, []).append(value)
        super().__init__((name, values[0]) for name, values in self._lists.items())

    def get(self, name: str, default: Any = None, type: Any = None) -> Any:  # noqa: A002
        """The first value, `default` when it is absent or `type` can't convert it."""
        return _convert(super().get(name), default, type)

    def getlist(self, name: str) -> list[str]:
        """Every value of the name, in order."""
        return list(self._lists.get(name, ()))

    def lists(self) -> Iterable[tuple[str, list[str]]]:
        return self._lists.items()

    def to_dict(self, flat: bool = True) -> dict[str, Any]:
        return dict(self) if flat else {name: list(v) for name, v in self._lists.items()}


def _convert(value: str | None, default: Any, kind: Any) -> Any:
    if value is None:
        return default
    if kind is None:
        return value
    try:
        return kind(value)
    except (ValueError, TypeError):
        return default


class Event:
    """One call: `body` (bytes), `headers`, `method`, `query`, `path`."""

    def __init__(self, method: str, path: str, query: str, fields: Fields, body: bytes) -> None:
        self.body = body
        self.method = method
        self._path = path
        self._query = query
        self._fields = fields

    # Most handlers read the body only: the rest is made when it is asked for.
    def __getattr__(self, name: str) -> Any:
        value: Any
        if name == "headers":
            value = EventHeaders(self._fields)
        elif name == "query":
            value = Query(self._query)
        elif name == "path":
            value = _unquote(self._path)
        else:
            raise AttributeError(
                f"the event has no {name!r}: it has body, headers, method, query and path"
            )
        setattr(self, name, value)
        return value


def _unquote(path: str) -> str:
    if "%" not in path:
        return path
    from urllib.parse import unquote  # noqa: PLC0415  (seldom)

    return unquote(path)


class Context:
    """Where the handler runs."""

    def __init__(self, hostname: str) -> None:
        self.hostname = hostname


def response_of(result: Any) -> Response:
    """The answer that a handler's return value means.

    None is an empty 200. A dict may hold `statusCode`, `headers` and `body` (text, bytes, or what
    JSON can say). As under Flask, `(body, status)`, `(body, headers)` and `(body, status, headers)`
    work, and a list is JSON.

    Raises:
        BadResponseError: it is nothing of that.
    """
    if _is_tuple(result):
        body, status, headers = _unpack(result)
    elif isinstance(result, dict):
        fields = cast("dict[str, Any]", result)
        body = fields.get("body", "")
        status, headers = fields.get("statusCode", 200), fields.get("headers")
    else:
        body, status, headers = result, 200, None
    content, kind = _body(body, in_dict=isinstance(result, dict))
    pairs = list(_headers(headers or ()))
    if not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(kind)
    return _status(status), pairs, content


def _is_tuple(value: Any) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def _unpack(parts: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    match parts:
        case (body, second):
            is_status = isinstance(second, int | str)
            return (body, second, None) if is_status else (body, 200, second)
        case (body, status, headers):
            return body, status, headers
        case _:
            raise BadResponseError(
                f"handle returned a tuple of {len(parts)}: (body, status, headers) is possible"
            )


def _body(body: Any, *, in_dict: bool) -> tuple[bytes, tuple[str, str]]:
    match body:
        case None:
            return b"", HTML
        case str():
            return body.encode("utf-8", "surrogateescape"), HTML
        case bytes() | bytearray() | memoryview():
            return bytes(cast("bytes", body)), HTML
        case dict() | list():
            import json  # noqa: PLC0415  (not every handler returns JSON)

            try:
                text = json.dumps(body, sort_keys=True, separators=(",", ":"))
            except (TypeError, ValueError) as error:
                raise BadResponseError(
                    f"handle returned a body that is no JSON: {error}"
                ) from error
            return text.encode() + b"\n", JSON
        case _ if in_dict:
            return str(body).encode(), HTML
        case _:
            raise BadResponseError(
                f"handle returned {type(body).__name__!r}: return text, bytes, None, or a dict "
                "with statusCode, headers and body"
            )


def _status(status: Any) -> int:
    try:
        number = int(status.split()[0]) if isinstance(status, str) else int(status)
    except (ValueError, TypeError, IndexError):
        number = 0
    if not 200 <= number <= 599:
        raise BadResponseError(f"handle returned the status {status!r}: 200 to 599 are possible")
    return number


def _headers(headers: Any) -> Iterator[tuple[str, str]]:
    pairs: Any = cast("Any", headers.items() if isinstance(headers, Mapping) else headers)
    try:
        for name, values in pairs:
            several = cast("Any", values if isinstance(values, list | tuple) else (values,))
            for value in several:
                yield _text(name), _text(value).strip()
    except (TypeError, ValueError) as error:
        raise BadResponseError(
            f"handle returned headers that are no names with values: {headers!r}"
        ) from error


def _text(value: Any) -> str:
    text = str(value)
    if any((char < " " and char != "\t") or char == "\x7f" or char > "\xff" for char in text):
        raise BadResponseError(f"handle returned a header that can't be sent: {text!r}")
    return text
