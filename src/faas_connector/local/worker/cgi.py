"""The environment variables by which the classic watchdog tells a command of its request."""

from __future__ import annotations

import os

from faas_connector.local.worker import wire

# Go's http.Header doesn't hold these.
_NOT_HEADERS = frozenset({"Host", "Content_Length", "Transfer_Encoding"})
_MOST_NAMES = 1000


class Variables:
    """The variables of one function's commands: its own, and `Http_…` for each request."""

    def __init__(self, *, cgi_headers: bool) -> None:
        self._own = dict(os.environb)
        self._cgi_headers = cgi_headers
        self._names: dict[str, str] = {}

    def of(self, request: wire.Request) -> dict[bytes, bytes]:
        """Everything that the command for this request is to find."""
        variables = dict(self._own)
        if not self._cgi_headers:
            return variables
        _, method, path, query, fields, body = request
        found: dict[str, str] = {}
        for name, value in fields:
            found.setdefault(self._name(name), value)
        length = found.get("Content_Length", "-1" if body else "0")
        if length == "-1":  # the gateway sends a body in chunks
            variables[b"Http_Transfer_Encoding"] = b"chunked"
        if host := found.get("Host"):
            variables[b"Http_Host"] = _bytes(host)
        for name, value in found.items():
            if name not in _NOT_HEADERS:
                variables[b"Http_" + _bytes(name)] = _bytes(value)
        variables[b"Http_Method"] = _bytes(method)
        variables[b"Http_ContentLength"] = variables[b"Http_Content_Length"] = _bytes(length)
        if query:
            variables[b"Http_Query"] = _bytes(query)
        variables[b"Http_Path"] = _unquoted(path)
        return variables

    def _name(self, header: str) -> str:
        name = self._names.get(header)
        if name is None:
            name = "_".join(part.capitalize() for part in header.split("-"))
            if len(self._names) < _MOST_NAMES:
                self._names[header] = name
        return name


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _unquoted(path: str) -> bytes:
    if "%" not in path:
        return _bytes(path)
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415  (seldom)

    return unquote_to_bytes(_bytes(path))
