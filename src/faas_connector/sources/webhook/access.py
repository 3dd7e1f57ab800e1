"""Who may call a source over HTTP: the credentials it asks for, compared in constant time."""

from __future__ import annotations

import base64
import hmac
import logging
import time
from collections.abc import Callable

import msgspec

from faas_connector.auth import Secret, SecretFile
from faas_connector.errors import ConfigError
from faas_connector.headers import Headers
from faas_connector.sources.webhook.signatures import Encoding, Signature, decoded_secret

_log = logging.getLogger("faas_connector.auth")

# Seconds after which a secret's file is read again.
_FRESH = 5.0


class Secrets:
    """The secrets that are valid now: of a text, or of the lines of a file that may change."""

    def __init__(
        self,
        secret: Secret,
        encoding: Encoding = Encoding.TEXT,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read them for the first time.

        Raises:
            ConfigError: the file can't be read, or a secret is not written as `encoding` says.
        """
        self._secret = secret
        self._encoding = encoding
        self._clock = clock
        self._read_at = clock()
        self._values = self._read()

    def current(self) -> tuple[bytes, ...]:
        """Those that are valid now; a file is looked at every few seconds."""
        if isinstance(self._secret, SecretFile) and self._clock() - self._read_at > _FRESH:
            self._read_at = self._clock()
            try:
                self._values = self._read()
            except ConfigError as error:
                _log.warning("%s: %s; keeping the last ones", self._secret.path, error)
        return self._values

    def _read(self) -> tuple[bytes, ...]:
        if isinstance(self._secret, str):
            return (decoded_secret(self._secret, self._encoding),)
        lines = self._secret.get().splitlines()
        return tuple(decoded_secret(line.strip(), self._encoding) for line in lines if line.strip())


class Access(msgspec.Struct, frozen=True):
    """What a request must show; everything that is set must be right."""

    signature: Signature | None = None
    keys: Secrets | None = None
    """Of the signature."""
    tokens: Secrets | None = None
    token_header: str = "Authorization"  # noqa: S105 - a header's name
    """With `Authorization` the token is a bearer's; else the header holds nothing but the token."""
    user: str = ""
    passwords: Secrets | None = None

    @property
    def is_open(self) -> bool:
        """Whether anybody may call."""
        return self.signature is None and self.tokens is None and self.passwords is None

    @property
    def challenge(self) -> str:
        """`WWW-Authenticate` of a 401 (RFC 9110, 11.6.1)."""
        if self.passwords is not None:
            return 'Basic realm="webhook", charset="UTF-8"'
        return "Bearer" if self.tokens is not None else "Signature"

    def flaw(self, headers: Headers, body: bytes, now: float) -> str | None:
        """Why a request is refused; None where it may pass."""
        if self.tokens is not None and not self._has_token(headers, self.tokens):
            return f"the token in {self.token_header} is wrong or missing"
        if self.passwords is not None and not self._has_password(headers, self.passwords):
            return "user or password is wrong or missing"
        if self.signature is not None and self.keys is not None:
            return self.signature.flaw(headers, body, self.keys.current(), now)
        return None

    def _has_token(self, headers: Headers, tokens: Secrets) -> bool:
        value = _only(headers, self.token_header)
        if self.token_header.lower() == "authorization":
            value = _credentials(value, "bearer")
        return _is_one_of(value.encode("latin-1", "replace"), tokens.current())

    def _has_password(self, headers: Headers, passwords: Secrets) -> bool:
        try:
            given = base64.b64decode(
                _credentials(_only(headers, "Authorization"), "basic"), validate=True
            )
        except ValueError:
            given = b""
        user = self.user.encode()
        return _is_one_of(given, tuple(user + b":" + each for each in passwords.current()))


def _only(headers: Headers, name: str) -> str:
    """The value of a field that came once; which of several holds nobody could tell."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else ""


def _credentials(value: str, scheme: str) -> str:
    given, _, credentials = value.partition(" ")
    return credentials.strip() if given.lower() == scheme else ""


def _is_one_of(given: bytes, right: tuple[bytes, ...]) -> bool:
    matches = False
    for each in right:
        matches |= hmac.compare_digest(given, each)
    return matches


def access_of(
    *,
    signature: Signature | None,
    secret: Secret | None,
    secret_encoding: Encoding,
    token: Secret | None,
    token_header: str,
    user: str,
    password: Secret | None,
) -> Access:
    """What these settings ask a request for.

    Raises:
        ConfigError: they contradict each other, or one of them is missing.
    """
    if (secret is None) != (signature is None):
        raise ConfigError(
            "signature and secret belong together; for example signature='github' with "
            "secret_file='/var/secrets/github'"
        )
    if bool(user) != (password is not None) or ":" in user:
        raise ConfigError(
            "user and password belong together, and a user has no ':' (it is not shown, since a "
            "password may stand behind it); for example user='sender' with "
            "password_file='/var/secrets/sender'"
        )
    if token is not None and password is not None and token_header.lower() == "authorization":
        raise ConfigError(
            "a token and a user would both stand in Authorization; set one of them, or another "
            "token_header, for example 'X-Gitlab-Token'"
        )
    return Access(
        signature,
        None if secret is None else Secrets(secret, secret_encoding),
        None if token is None else Secrets(token),
        token_header,
        user,
        None if password is None else Secrets(password),
    )
