"""Credentials for the gateway's `/system` routes. They are never sent to functions."""

from __future__ import annotations

import logging
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from faas_connector.errors import ConfigError

_log = logging.getLogger("faas_connector.auth")


class HeaderAuth(Protocol):
    """Any object that gives the header fields which prove who is asking."""

    def headers(self) -> Mapping[str, str] | Awaitable[Mapping[str, str]]:
        """The fields for one request; asked for anew each time."""
        ...


Auth = HeaderAuth | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""What `ControllerConfig.auth` takes: such an object, or an (async) callable that does the same."""


class SecretFile:
    """A secret in a file, read again whenever the file changes, blanks at the ends trimmed.

    While the file can't be read (a secret being swapped), the last good value holds.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the file for the first time.

        Raises:
            ConfigError: it can't be read, or is empty.
        """
        self.path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        try:
            self._value = self._read()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"can't read the secret {self.path} ({_why(error)}); "
                "is it mounted, and may this user read it?"
            ) from error
        if not self._value:
            raise ConfigError(f"the secret {self.path} is empty; write the password into it")

    def get(self) -> str:
        """The secret as it stands in the file now."""
        try:
            value = self._read()
        except (OSError, ValueError) as error:
            _log.warning("secret %s can't be read (%s); keeping the last", self.path, _why(error))
            return self._value
        if value:
            self._value = value
        return self._value

    def _read(self) -> str:
        state = self.path.stat()
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen == self._seen:
            return self._value
        value = self.path.read_text(encoding="utf-8").strip()
        self._seen = seen
        return value

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r})"


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not UTF-8 text"


class BasicAuth:
    """User and password, as the OpenFaaS community edition asks for.

    Example:
        >>> BasicAuth("admin", "s3cret")
        BasicAuth('admin', '***')
    """

    def __init__(self, username: str | SecretFile, password: str | SecretFile) -> None:
        """Take both as text, or as files that are read again when they change."""
        if isinstance(username, str) and (not username or ":" in username):
            raise ConfigError(
                f"username must not be empty nor hold a ':', got {username!r}; for example 'admin'"
            )
        self._username = username
        self._password = password

    @classmethod
    def from_files(
        cls, username_file: str | os.PathLike[str], password_file: str | os.PathLike[str]
    ) -> BasicAuth:
        """User and password from two files, read again when they change.

        Raises:
            ConfigError: one of them can't be read or is empty.
        """
        return cls(SecretFile(username_file), SecretFile(password_file))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> BasicAuth | None:
        """What the Go connectors read: `basic_auth` and the files under `secret_mount_path`.

        `basic_auth` must be exactly `true` or `1`; the files are `basic-auth-user` and
        `basic-auth-password`. None where it is not switched on.

        Raises:
            ConfigError: it is on, but `secret_mount_path` is unset or a file can't be read.
        """
        if environ.get("basic_auth") not in {"true", "1"}:
            return None
        folder = environ.get("secret_mount_path")
        if not folder:
            raise ConfigError(
                "basic_auth is on, but secret_mount_path is not set; set it to the folder with "
                "basic-auth-user and basic-auth-password, for example /var/secrets/gateway"
            )
        return cls.from_files(
            Path(folder) / "basic-auth-user", Path(folder) / "basic-auth-password"
        )

    def headers(self) -> Mapping[str, str]:
        """`Authorization: Basic …` (RFC 7617, UTF-8)."""
        pair = f"{_text(self._username)}:{_text(self._password)}"
        return {"Authorization": "Basic " + b64encode(pair.encode()).decode("ascii")}

    def __repr__(self) -> str:
        return f"BasicAuth({self._username!r}, '***')"


class BearerToken:
    """A token, as the commercial editions ask for.

    Example:
        >>> BearerToken("eyJhbGciOi...")
        BearerToken('***')
    """

    def __init__(self, token: str | SecretFile) -> None:
        """Take the token as text, or as a file that is read again when it changes."""
        if isinstance(token, str) and not token.strip():
            raise ConfigError("token must not be empty; for example BearerToken('eyJ…')")
        self._token = token

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> BearerToken:
        """The token in a file, read again when it changes.

        Raises:
            ConfigError: it can't be read or is empty.
        """
        return cls(SecretFile(path))

    def headers(self) -> Mapping[str, str]:
        """`Authorization: Bearer …` (RFC 6750)."""
        return {"Authorization": f"Bearer {_text(self._token).strip()}"}

    def __repr__(self) -> str:
        return "BearerToken('***')"


def _text(value: str | SecretFile) -> str:
    return value if isinstance(value, str) else value.get()
