"""What is said when a connection fails: the reason, and what to do about it."""

import errno
import socket
import ssl

import pytest

from faas_connector.errors import ConnectError, ConnectionLostError
from faas_connector.gateway.failures import connect_error, late_error, lost_error
from faas_connector.gateway.origin import Origin

PLAIN = Origin.parse("http://gw:8080/base")
SECURE = Origin.parse("https://gw")


def tls(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] something (_ssl.c:1)")
    error.reason = reason
    return error


def unverified(text):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = text
    return error


UNREACHABLE = "is the gateway running or port-forwarded?"


@pytest.mark.parametrize(
    ("origin", "cause", "said"),
    [
        (
            PLAIN,
            ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 8080)"),
            f"no connection to http://gw:8080/base (connection refused); {UNREACHABLE}",
        ),
        (
            PLAIN,
            OSError(
                "Multiple exceptions: [Errno 101] Connect call failed ('::1', 8080, 0, 0), "
                "[Errno 111] Connect call failed ('127.0.0.1', 8080)"
            ),
            f"no connection to http://gw:8080/base (connection refused); {UNREACHABLE}",
        ),
        (
            PLAIN,
            OSError(errno.EHOSTUNREACH, "x"),
            f"no connection to http://gw:8080/base (no route to host); {UNREACHABLE}",
        ),
        (
            PLAIN,
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            (
                "no connection to http://gw:8080/base (name or service not known); "
                "is the host's name right?"
            ),
        ),
        (
            PLAIN,
            UnicodeError("label too\nlong."),
            f"no connection to http://gw:8080/base (label too long); {UNREACHABLE}",
        ),
        (
            PLAIN,
            RuntimeError(),
            f"no connection to http://gw:8080/base (RuntimeError); {UNREACHABLE}",
        ),
        (
            SECURE,
            ConnectionRefusedError(errno.ECONNREFUSED, "x"),
            f"no connection to https://gw (connection refused); {UNREACHABLE}",
        ),
        (
            SECURE,
            ConnectionResetError(errno.ECONNRESET, "x"),
            (
                "no connection to https://gw (connection reset by peer); "
                "is it running, does it speak TLS, and does it want a client certificate?"
            ),
        ),
        (
            SECURE,
            unverified("self-signed certificate"),
            (
                "no connection to https://gw "
                "(its certificate is not valid: self-signed certificate); "
                "name its CA with --ca-file (in code: ControllerConfig.tls), "
                "or skip the check with --tls-no-verify"
            ),
        ),
        (
            SECURE,
            unverified("Hostname mismatch, certificate is not valid for 'gw'."),
            (
                "no connection to https://gw (its certificate is not valid: hostname mismatch, "
                "certificate is not valid for 'gw'); use a name that stands in the certificate"
            ),
        ),
        (
            SECURE,
            tls("WRONG_VERSION_NUMBER"),
            "no connection to https://gw (it speaks no TLS); is it http://gw?",
        ),
        (
            SECURE,
            tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            (
                "no connection to https://gw (TLS: tlsv13 alert certificate required); "
                "give a client certificate that it accepts (ControllerConfig.tls)"
            ),
        ),
        (
            SECURE,
            tls("NO_PROTOCOLS_AVAILABLE"),
            (
                "no connection to https://gw (TLS: no protocols available); "
                "do both sides share a version of TLS?"
            ),
        ),
    ],
)
def test_why_there_is_no_connection(origin, cause, said):
    error = connect_error(origin, cause)
    assert type(error) is ConnectError
    assert str(error) == said
    assert error.__cause__ is cause


def test_a_connection_that_is_late():
    error = late_error(PLAIN, 5.0)
    assert type(error) is ConnectError
    assert str(error) == (
        f"no connection to http://gw:8080/base (no answer within 5 s); {UNREACHABLE}"
    )


@pytest.mark.parametrize("make", [connect_error, late_error])
def test_after_a_request_was_sent_it_is_no_longer_said_that_nothing_was(make):
    error = make(PLAIN, 5.0 if make is late_error else TimeoutError("x"), again=True)
    assert type(error) is ConnectionLostError
    assert str(error).startswith(
        "http://gw:8080/base hung up before its answer and can't be reached again ("
    )


def test_a_connection_that_is_lost():
    cause = ConnectionResetError(errno.ECONNRESET, "x")
    assert str(lost_error(PLAIN, None, begun=False)) == (
        "http://gw:8080/base hung up before its answer; the function may have run or not"
    )
    assert str(lost_error(PLAIN, cause, begun=True)) == (
        "http://gw:8080/base hung up within its answer (connection reset by peer); "
        "the function may have run or not"
    )
    assert lost_error(PLAIN, cause, begun=True).__cause__ is cause


def test_a_peer_that_refuses_our_certificate_after_the_handshake():
    refused = tls("TLSV13_ALERT_CERTIFICATE_REQUIRED")
    assert type(lost_error(SECURE, refused, begun=False)) is ConnectError
    assert type(lost_error(SECURE, refused, begun=True)) is ConnectionLostError
