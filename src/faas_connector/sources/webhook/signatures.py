"""Signatures of webhooks: an HMAC over the body, and often over a time. Nothing here waits.

GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
Others sign alike and differ in header, algorithm, prefix, encoding, and in what they sign; each is
a `Signature` (docs/sources/webhook.md lists them).
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
import re
from collections.abc import Callable, Sequence

import msgspec

from faas_connector.errors import ConfigError
from faas_connector.headers import Headers, is_token

ALGORITHMS = ("sha1", "sha256", "sha384", "sha512")

# What a signature header may hold at most; more are not looked at.
_MOST_CANDIDATES = 16
_PLACE = re.compile(r"\{([^{}]*)\}")
_TIME = re.compile(r"[0-9]{1,13}")
# Seconds since the epoch have ten digits until 2286; thirteen are milliseconds.
_MILLISECOND_DIGITS = 13


class Encoding(enum.Enum):
    """How bytes are written as text."""

    HEX = "hex"
    BASE64 = "base64"
    TEXT = "text"
    """As they are, in UTF-8."""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider puts its signature, and what it signs."""

    header: str
    """The header that holds it."""
    algorithm: str = "sha256"
    """Of the HMAC; one of `ALGORITHMS`."""
    prefix: str = ""
    """What stands before it; a value without is passed over."""
    encoding: Encoding = Encoding.HEX
    separator: str = ""
    """Between several values in the header; empty where there is one."""
    signed: str = "{body}"
    """What is signed: text with `{body}`, `{timestamp}` and `{header:NAME}`."""
    timestamp_header: str = ""
    """The header with the time of sending, in seconds (or milliseconds) since the epoch."""
    timestamp_prefix: str = ""
    """What stands before the time, among the values of that header."""
    tolerance: float = 300.0
    """Seconds that the time may differ from ours."""

    def __post_init__(self) -> None:
        """Refuse what could never prove anything.

        Raises:
            ConfigError: an option can't work, or protects nothing.
        """
        _check_header("signature_header", self.header, "X-Signature-256")
        if self.algorithm not in ALGORITHMS:
            raise ConfigError(
                f"signature_algorithm must be one of {', '.join(ALGORITHMS)}, "
                f"got {self.algorithm!r}; for example 'sha256'"
            )
        if self.encoding is Encoding.TEXT:
            raise ConfigError("signature_encoding must be hex or base64, got text")
        places = _PLACE.findall(self.signed)
        for place in places:
            if place not in {"body", "timestamp"} and not (
                place.startswith("header:") and is_token(place.removeprefix("header:"))
            ):
                raise ConfigError(
                    f"signed has no place {{{place}}}; there are {{body}}, {{timestamp}} and "
                    "{header:NAME}, for example '{timestamp}.{body}'"
                )
        if "body" not in places:
            raise ConfigError(
                f"signed must hold {{body}}, got {self.signed!r}; "
                "for example '{timestamp}.{body}'"
            )
        if self.timestamp_header:
            _check_header("timestamp_header", self.timestamp_header, "X-Timestamp")
        if bool(self.timestamp_header) != ("timestamp" in places):
            raise ConfigError(
                "timestamp_header and {timestamp} in signed belong together: a time that is not "
                "signed proves nothing; for example signed='{timestamp}.{body}'"
            )
        if not self.tolerance > 0:
            raise ConfigError(
                f"timestamp_tolerance must be above 0 seconds, got {self.tolerance!r}; "
                "for example 300.0"
            )

    def flaw(self, headers: Headers, body: bytes, keys: Sequence[bytes], now: float) -> str | None:
        """What is wrong with a request's signature; None where one of the keys made it.

        Args:
            headers: of the request.
            body: of the request, as it came.
            keys: that are valid now.
            now: seconds since the epoch.
        """
        candidates = [
            found
            for value in self._values(headers, self.header, self.prefix)[:_MOST_CANDIDATES]
            if (found := _decoded(value, self.encoding)) is not None
        ]
        if not candidates:
            if any(headers.get_all(self.header)):
                what = "another form than the signature's prefix and encoding"
                return f"what {self.header} holds has {what}"
            return f"the request has no signature in {self.header}"
        timestamp = ""
        if self.timestamp_header:
            times = self._values(headers, self.timestamp_header, self.timestamp_prefix)
            if len(times) != 1 or not _TIME.fullmatch(times[0]):
                return f"the request has no time in {self.timestamp_header}"
            timestamp = times[0]
        signed = self._signed(headers, body, timestamp)
        matches = False
        for key in keys:
            digest = hmac.digest(key, signed, self.algorithm)
            for candidate in candidates:
                matches |= hmac.compare_digest(digest, candidate)
        if not matches:
            return "the signature is wrong"
        # After the signature: who can't sign learns nothing of our clock.
        if timestamp and abs(now - _seconds(timestamp)) > self.tolerance:
            return "the request was signed too long ago, or its sender's clock is wrong"
        return None

    def _values(self, headers: Headers, name: str, prefix: str) -> list[str]:
        """The values in a header that have the prefix, without it."""
        return [
            item.strip().removeprefix(prefix)
            for value in headers.get_all(name)
            for item in (value.split(self.separator) if self.separator else [value])
            if item.strip().startswith(prefix)
        ]

    def _signed(self, headers: Headers, body: bytes, timestamp: str) -> bytes:
        if self.signed == "{body}":
            return body
        parts = _PLACE.split(self.signed)
        places: dict[str, Callable[[], bytes]] = {
            "body": lambda: body,
            "timestamp": timestamp.encode,
        }
        return b"".join(
            part.encode()
            if index % 2 == 0
            else places.get(part, lambda name=part: _header(headers, name))()
            for index, part in enumerate(parts)
        )


def decoded_secret(secret: str, encoding: Encoding) -> bytes:
    """The key that a secret means.

    Raises:
        ConfigError: it is not written so.
    """
    found = secret.encode() if encoding is Encoding.TEXT else _decoded(secret, encoding)
    if not found:
        # The secret itself must go no further.
        raise ConfigError(
            f"the secret is no {encoding.value}, or is empty; "
            "secret_encoding says how it is written"
        )
    return found


def _decoded(value: str, encoding: Encoding) -> bytes | None:
    try:
        if encoding is Encoding.HEX:
            return binascii.unhexlify(value)
        return base64.b64decode(value, validate=True)
    except ValueError:
        return None


def _header(headers: Headers, place: str) -> bytes:
    return headers.get(place.removeprefix("header:"), "").encode("latin-1", "replace")


def _seconds(timestamp: str) -> float:
    seconds = float(timestamp)
    return seconds / 1000 if len(timestamp) == _MILLISECOND_DIGITS else seconds


def _check_header(option: str, name: str, example: str) -> None:
    if not is_token(name):
        raise ConfigError(f"{option} must name a header, got {name!r}; for example {example!r}")


GITHUB = Signature(header="X-Hub-Signature-256", prefix="sha256=")
