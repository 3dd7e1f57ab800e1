"""Request targets, read the way the gateway reads them (gateway contract, "Path cleaning", 5.1).

The gateway decodes a path, matches its routes on the result, and parses what it decoded once
more as a URL. That second look is why `%3F` starts a query and `%25zz` ends the connection.
Text here holds one character a byte (latin-1), so that bytes of any kind survive.
"""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

_ESCAPE = re.compile(r"%(?:([0-9A-Fa-f]{2})|.{0,2})", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Everything but what Go's url package leaves alone when it writes a path.
_WRITTEN = re.compile(r"[^-A-Za-z0-9_.~$&+,/:;=@]")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HOST = re.compile(r"[-A-Za-z0-9_.~!$&'()*+,;=:\[\]<>\"%\x80-\xff]*")


class TargetError(ValueError):
    """A target that is no URL; the text is Go's."""


class Target(NamedTuple):
    """A request's target."""

    path: str
    """Decoded once; begins with `/`."""
    written: str
    """The path as it was sent."""
    query: str | None
    """Raw; None without a `?`."""
    authority: str = ""
    """The host of a target in absolute form, which replaces the Host field (RFC 9112, 3.2.2)."""

    @property
    def tail(self) -> str:
        """The query with its `?`, as it was sent."""
        return "" if self.query is None else f"?{self.query}"


def parse_target(text: str) -> Target:
    """A target as a server reads it.

    Raises:
        TargetError: it is no path and no absolute URL, or has a broken escape.
    """
    authority = ""
    absolute = _ABSOLUTE.fullmatch(text)
    if absolute is not None:
        authority, text = absolute[1], absolute[2]
        if not text.startswith("/"):
            text = f"/{text}"
    if _CONTROL.search(text) or not text.startswith("/"):
        raise TargetError("invalid URI for request")
    written, mark, query = text.partition("?")
    return Target(unescape(written), written, query if mark else None, authority)


def clean_path(path: str) -> str:
    """`path` without `//`, `/./` and `/../`; a slash at its end stays."""
    if "//" not in path and "/." not in path:
        return path
    clean = posixpath.normpath(f"/{path.lstrip('/')}")
    return f"{clean}/" if path.endswith("/") and clean != "/" else clean


def unescape(text: str) -> str:
    """`text` with its `%XX` decoded, once.

    Raises:
        TargetError: a `%` without two hex digits.
    """
    if "%" not in text:
        return text
    return _ESCAPE.sub(_decoded, text)


def _decoded(escape: re.Match[str]) -> str:
    if escape[1] is None:
        raise TargetError(f'invalid URL escape "{escape[0]}"')
    return chr(int(escape[1], 16))


def escape(path: str) -> str:
    """`path` written as Go's url package writes it."""
    return _WRITTEN.sub(lambda match: f"%{ord(match[0]):02X}", path)


def location(target: Target, clean: str) -> str:
    """Where a request for a path that is not clean is sent: the clean path, the query kept."""
    return f"{escape(clean)}{target.tail}"


def second_look(path: str, query: str | None) -> tuple[str, str]:
    """Path and raw query once the gateway has parsed its own decoded path as a URL.

    Args:
        path: decoded once, without the route's prefix.
        query: raw.

    Returns:
        The path, decoded a second time, and the raw query.

    Raises:
        TargetError: the gateway panics on this one, and closes the connection.
    """
    url, _, fragment = (f"{path}?{query}" if query else path).partition("#")
    if _CONTROL.search(url) or _CONTROL.search(fragment):
        raise TargetError("invalid control character in URL")
    unescape(fragment)
    again, _, rest = url.partition("?")
    return unescape(again), rest


def url_error(text: str) -> str | None:
    """Why Go's `url.Parse` refuses `text`, in its words; None when it does not."""
    reason = _url_reason(text.partition("#")[0])
    return None if reason is None else f"parse {_quoted(text)}: {reason}"


def _url_reason(url: str) -> str | None:
    if _CONTROL.search(url):
        return "net/url: invalid control character in URL"
    if url.startswith(":"):
        return "missing protocol scheme"
    scheme = _SCHEME.match(url)
    rest = (url[scheme.end() :] if scheme else url).partition("?")[0]
    if rest.startswith("//"):
        authority, _, path = rest[2:].partition("/")
        return _authority_reason(authority) or _path_reason(path)
    if not scheme and ":" in rest.partition("/")[0]:
        return "first path segment in URL cannot contain colon"
    opaque = scheme is not None and not rest.startswith("/")  # such as mailto:somebody
    return None if opaque else _path_reason(rest)


def _path_reason(path: str) -> str | None:
    try:
        unescape(path)
    except TargetError as error:
        return str(error)
    return None


def _authority_reason(authority: str) -> str | None:
    userinfo, at, host = authority.rpartition("@")
    if at and not re.fullmatch(r"[-A-Za-z0-9_.~!$&'()*+,;=:%]*", userinfo):
        return "net/url: invalid userinfo"
    if host.startswith("["):
        if "]" not in host:
            return "missing ']' in host"
        port = host.rpartition("]")[2]
    else:
        port = host[host.rfind(":") :] if ":" in host else ""
    if not re.fullmatch(r"(?::[0-9]*)?", port):
        return f"invalid port {_quoted(port)} after host"
    good = _HOST.match(host)
    if good is not None and good.end() < len(host):
        return f"invalid character {_quoted(host[good.end()])} in host name"
    return None


def _quoted(text: str) -> str:
    """`text` as Go's `%q` writes it."""
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    out = out.replace("\t", "\\t")
    return '"' + _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", out) + '"'
