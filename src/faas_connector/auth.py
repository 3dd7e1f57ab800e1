"""Credentials for the gateway's `/system` routes. They are never sent to functions."""

from __future__ import annotations

import logging
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from faas_connector.errors import ConfigError
from faas_connector.headers import is_text

_log = logging.getLogger("faas_connector.auth")


class HeaderAuth(Protocol):
    """Any object that gives the header fields which prove who is asking."""

    def headers(self) -> Mapping[str, str] | Awaitable[Mapping[str, str]]:
        """The fields for one request; asked for anew each time."""
        ...


Auth = HeaderAuth | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""What `ControllerConfig.auth` takes: such an object, or an (async) callable that does the same."""


class SecretFile:
    """A secret in a file, read anew each time it is asked for, blanks at the ends trimmed.

    While the file can't be read or is empty (a secret being swapped), the last good value holds.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the file for the first time.

        Raises:
            ConfigError: it can't be read, or is empty.
        """
        self.path = Path(path)
        self._trouble = ""
        value, trouble = self._read()
        if trouble:
            raise ConfigError(
                f"the secret {self.path} {trouble}; "
                "is it mounted, may this user read it, and does it hold the password?"
            )
        self._value = value

    def get(self) -> str:
        """The secret as it stands in the file now."""
        value, trouble = self._read()
        if trouble and trouble != self._trouble:
            _log.warning("the secret %s %s; keeping the last one", self.path, trouble)
        self._trouble = trouble
        if not trouble:
            self._value = value
        return self._value

    def _read(self) -> tuple[str, str]:
        """The secret, and what is wrong with it: one of the two is empty."""
        # Some 10 us, once a refresh. A file's time and size don't tell reliably that it changed.
        try:
            value = self.path.read_bytes().decode().strip()
        except OSError as error:
            return "", f"can't be read ({error.strerror or error})"
        except UnicodeDecodeError:
            # The error itself must go no further: it carries the bytes.
            return "", "is not UTF-8 text"
        except ValueError:
            return "", "can't be read (no path has such characters)"
        return value, "" if value else "is empty"

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r})"


Secret = str | SecretFile
"""A secret of a source's settings: its text, or the file that it is read from."""


class BasicAuth:
    """User and password, as the OpenFaaS community edition asks for.

    Example:
        >>> BasicAuth("admin", "s3cret")
        BasicAuth('admin', '***')
    """

    def __init__(self, username: str | SecretFile, password: str | SecretFile) -> None:
        """Take both as text, or as files that are read again when they change.

        Raises:
            ConfigError: one of them is neither, or the user name is empty or holds a `:`.
        """
        _check_secret("username", username)
        if isinstance(username, str) and (not username or ":" in username):
            raise ConfigError(
                "username must not be empty nor hold a ':' (it is not shown, since a password may "
                "stand behind it); for example 'admin', and the password by itself"
            )
        _check_secret("password", password)
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
        pair = f"{text_of(self._username)}:{text_of(self._password)}"
        # An environment variable may hold bytes that are no UTF-8.
        encoded = b64encode(pair.encode("utf-8", "surrogateescape"))
        return {"Authorization": f"Basic {encoded.decode('ascii')}"}

    def __repr__(self) -> str:
        return f"BasicAuth({self._username!r}, '***')"


class BearerToken:
    """A token, as the commercial editions ask for.

    Example:
        >>> BearerToken("eyJhbGciOi...")
        BearerToken('***')
    """

    def __init__(self, token: str | SecretFile) -> None:
        """Take the token as text, or as a file that is read again when it changes.

        Raises:
            ConfigError: it is neither, or no header may hold it.
        """
        _check_secret("token", token)
        self._token = token
        self.headers()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> BearerToken:
        """The token in a file, read again when it changes.

        Raises:
            ConfigError: it can't be read, is empty, or no header may hold it.
        """
        return cls(SecretFile(path))

    def headers(self) -> Mapping[str, str]:
        """`Authorization: Bearer …` (RFC 6750).

        Raises:
            ConfigError: the file holds by now what no header may hold.
        """
        token = text_of(self._token).strip()
        if not token or not is_text(token):
            where = f" in {self._token.path}" if isinstance(self._token, SecretFile) else ""
            raise ConfigError(
                f"the token{where} must be one line of visible ASCII, got {len(token)} other "
                "characters; for example BearerToken('eyJ…')"
            )
        return {"Authorization": f"Bearer {token}"}

    def __repr__(self) -> str:
        return "BearerToken('***')"


def _check_secret(name: str, value: object) -> None:
    if not isinstance(value, str | SecretFile):
        raise ConfigError(
            f"{name} must be text or a SecretFile, got a {type(value).__name__}; "
            "is the variable that it comes from set?"
        )


def text_of(value: Secret) -> str:
    """The secret as it is now."""
    return value if isinstance(value, str) else value.get()
