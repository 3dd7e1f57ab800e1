"""Which topic a request is for, and whether anybody may choose it. Nothing here waits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from faas_connector.errors import ConfigError
from faas_connector.headers import is_token

_LONGEST = 512
# What can stand in X-Topic as it is, and in a log line.
_TOPIC = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")


class Topics(msgspec.Struct, frozen=True):
    """The topics that requests may be for."""

    names: frozenset[str] = frozenset()
    """These."""
    prefix: str = ""
    """And all that begin with it; it is put before a topic that doesn't."""

    every: bool = False
    """Or any topic at all."""

    @classmethod
    def any(cls) -> Topics:
        """Every topic."""
        return cls(every=True)

    def allowed(self, name: str) -> str | None:
        """The topic that `name` means; None where it is not allowed."""
        if not _TOPIC.fullmatch(name) or len(name) > _LONGEST:
            return None
        if self.every or name in self.names:
            return name
        if not self.prefix:
            return None
        return name if name.startswith(self.prefix) else f"{self.prefix}{name}"


class Routes(msgspec.Struct, frozen=True):
    """How a request names its topic."""

    topics: Topics
    base: str = "/"
    """The path below which a topic stands, with its last slash."""
    paths: Mapping[str, str] = {}
    """The topic of each of these paths."""
    header: str = ""
    """The header that names the topic; the path is then `base`."""

    def topic(self, target: str, header: str | None) -> str | None:
        """The topic of a request; None where it has none that is allowed.

        Args:
            target: of the request line.
            header: the value of `header`, where the request has it.
        """
        path = path_of(target)
        if path is None:
            return None
        if (fixed := self.paths.get(path)) is not None:
            return fixed
        if self.header:
            is_here = self.base in {path, f"{path}/"}
            return self.topics.allowed(header) if is_here and header is not None else None
        return self.topics.allowed(path[len(self.base) :]) if path.startswith(self.base) else None


def path_of(target: str) -> str | None:
    """The path of a request target, decoded; None where it is no path."""
    if absolute := _ABSOLUTE.match(target):
        target = target[absolute.end() :] or "/"
    path = target.partition("?")[0]
    if not path.startswith("/"):
        return None
    if "%" not in path and path.isascii():
        return path
    try:
        return unquote(path.encode("latin-1").decode(), errors="strict")
    except UnicodeDecodeError:
        return None


def checked_base(path: str) -> str:
    """A path with a slash at both ends.

    Raises:
        ConfigError: it is no path.
    """
    if not path.startswith("/") or "?" in path or path_of(path) is None:
        raise ConfigError(f"path must begin with '/', got {path!r}; for example '/hooks'")
    return path if path.endswith("/") else f"{path}/"


def checked_topics(names: tuple[str, ...], prefix: str) -> Topics:
    """The topics that are allowed.

    Raises:
        ConfigError: one of them can be no topic.
    """
    for name in (*names, *([prefix] if prefix else [])):
        if not _TOPIC.fullmatch(name):
            raise ConfigError(
                f"topics and topic_prefix must be visible ASCII, got {name!r}; "
                "for example 'payment.received'"
            )
    return Topics(frozenset(names), prefix)


def checked_paths(paths: Mapping[str, str]) -> Mapping[str, str]:
    """The fixed topic of each path.

    Raises:
        ConfigError: there is no path or no topic.
    """
    for path, topic in paths.items():
        if not path.startswith("/") or not _TOPIC.fullmatch(topic):
            raise ConfigError(
                f"paths must map paths to topics, got {path!r}: {topic!r}; "
                "for example {'/github': 'github.event'}"
            )
    return paths


def checked_topic_header(name: str) -> str:
    """A header's name, or nothing.

    Raises:
        ConfigError: it is no header name.
    """
    if name and not is_token(name):
        raise ConfigError(
            f"topic_header must name a header, got {name!r}; for example 'X-GitHub-Event'"
        )
    return name
