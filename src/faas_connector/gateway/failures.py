"""What to say when a connection fails: the reason, and what to do about it."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl

from faas_connector.errors import ConnectError, ConnectionLostError, TransportError
from faas_connector.gateway.origin import Origin

_ERRNO = re.compile(r"\[Errno (\d+)\]")
# What OpenSSL says when the other side speaks no TLS at all.
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}

_UNREACHABLE = "is the gateway running or port-forwarded?"


def connect_error(origin: Origin, cause: BaseException, *, again: bool = False) -> TransportError:
    """The error for a connection that could not be made.

    Args:
        origin: where to.
        cause: what the system said.
        again: whether the request had been sent before, on a connection that was lost.
    """
    error = _no_connection(origin, *_explain(origin, cause), again=again)
    error.__cause__ = cause
    return error


def late_error(origin: Origin, seconds: float, *, again: bool = False) -> TransportError:
    """The error for a connection that was not made in time."""
    return _no_connection(origin, f"no answer within {seconds:g} s", _UNREACHABLE, again=again)


def _no_connection(origin: Origin, reason: str, hint: str, *, again: bool) -> TransportError:
    if again:
        return ConnectionLostError(
            f"{origin} hung up before its answer and can't be reached again ({reason}); {hint}"
        )
    return ConnectError(f"no connection to {origin} ({reason}); {hint}")


def lost_error(origin: Origin, cause: BaseException | None, *, begun: bool) -> TransportError:
    """The error for a connection that ended before the answer was complete."""
    if isinstance(cause, ssl.SSLError) and not begun:
        # With TLS 1.3 a peer refuses our certificate when we believe to be connected already.
        return connect_error(origin, cause)
    reason = f" ({_os_reason(cause)})" if isinstance(cause, OSError) else ""
    part = "within" if begun else "before"
    error = ConnectionLostError(
        f"{origin} hung up {part} its answer{reason}; the function may have run or not"
    )
    error.__cause__ = cause
    return error


def _explain(origin: Origin, cause: BaseException) -> tuple[str, str]:
    """The reason, and what to do about it."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _explain_certificate(cause)
    if isinstance(cause, ssl.SSLError):
        return _explain_tls(origin, cause)
    if isinstance(cause, socket.gaierror):
        return _sentence(cause.strerror or str(cause)), "is the host's name right?"
    reason = _os_reason(cause)
    if origin.scheme == "https" and reason != "connection refused":
        return reason, "is it running, does it speak TLS, and does it want a client certificate?"
    return reason, _UNREACHABLE


def _explain_certificate(cause: ssl.SSLCertVerificationError) -> tuple[str, str]:
    reason = f"its certificate is not valid: {_sentence(cause.verify_message)}"
    if "mismatch" in reason:
        return reason, "use a name that stands in the certificate"
    return reason, (
        "name its CA with --ca-file (in code: ControllerConfig.tls), "
        "or skip the check with --tls-no-verify"
    )


def _explain_tls(origin: Origin, cause: ssl.SSLError) -> tuple[str, str]:
    if cause.reason in _NO_TLS:
        return "it speaks no TLS", f"is it http://{origin.host_header}{origin.base_path}?"
    said = (cause.reason or str(cause)).replace("_", " ").lower()
    if "certificate" in said:
        return f"TLS: {said}", "give a client certificate that it accepts (ControllerConfig.tls)"
    return f"TLS: {said}", "do both sides share a version of TLS?"


def _os_reason(cause: BaseException) -> str:
    """The system's own words; of several addresses that failed, the last one's."""
    number = cause.errno if isinstance(cause, OSError) else None
    if number is None and (found := _ERRNO.findall(str(cause))):
        number = int(found[-1])
    if number is not None and number in errno.errorcode:
        return _sentence(os.strerror(number))
    return _sentence(str(cause)) or type(cause).__name__


def _sentence(text: str) -> str:
    """One line that reads on within a sentence; words like `IP` stay as they are."""
    line = " ".join(text.split()).rstrip(".")
    return line if line[1:2].isupper() else line[:1].lower() + line[1:]
