"""What there is to say of a connection: why there is none, and which setting helps."""

from __future__ import annotations

import logging
import ssl
from importlib import import_module

from faas_connector.errors import SourceError
from faas_connector.sources.kafka.client import KafkaError, connection_of, reason_of
from faas_connector.sources.kafka.settings import KafkaSettings, Sasl

_conn, _errors, _metadata = (
    import_module(f"aiokafka.{name}") for name in ("conn", "errors", "protocol.metadata")
)

_log = logging.getLogger("faas_connector.source")
# The first that an error is an instance of counts.
_WHY: dict[type[Exception], str] = {
    _errors.IllegalSaslStateError: "it asks for no login; leave user out, or use its SASL port",
    _errors.UnsupportedSaslMechanismError: "it has no {sasl}; set sasl to one that it offers",
    _errors.SaslAuthenticationFailed: "{said}; are user, password and sasl right?",
    _errors.KafkaConnectionError: (
        "it closed the connection; is it Kafka, and are tls, user, sasl and cert_file as it asks?"
    ),
    TimeoutError: "no answer; is it up, and is brokers right?",
    Exception: "{said}; is it up, and is brokers right?",
}
# Milliseconds in which it has to answer.
_WITHIN = 10_000
# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_OTHER_NAMES = {62, 64}


def warn_of_plain_password(kafka: KafkaSettings) -> None:
    """Say that whoever is on the way can read the password, where he can."""
    if kafka.user and kafka.sasl is Sasl.PLAIN and not _tls_of(kafka):
        _log.warning(
            "%s: the password goes unencrypted to %s; set tls",
            kafka.name, ", ".join(kafka.brokers), extra={"source": kafka.name},
        )  # fmt: skip


async def why_not(kafka: KafkaSettings) -> SourceError:
    """Why none of the brokers could be connected to: the library only logs that."""
    why = _WHY[TimeoutError]
    options = connection_of(kafka)
    for host, port, _ in _conn.collect_hosts(options.pop("bootstrap_servers")):
        try:
            connection = await _conn.create_conn(host, port, request_timeout_ms=_WITHIN, **options)
            try:
                # One that wants a login answers what comes before this all the same.
                await connection.send(_metadata.MetadataRequest([]))
            finally:
                connection.close()
        except (OSError, KafkaError) as error:
            why = _why(kafka, error)
    who = f" as {kafka.user}" if kafka.user else ""
    return SourceError(
        f"{kafka.name}: can't connect to Kafka at {', '.join(kafka.brokers)}{who}: {why}"
    )


def _why(kafka: KafkaSettings, error: Exception) -> str:
    """What happened, and the next step."""
    # What the other side said after the handshake, as of a certificate that it misses.
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _why_no_trust(cause)
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE" in (cause.reason or ""):
        right = "is cert_file right?" if kafka.cert_file else "set cert_file"
        return f"it takes no certificate of ours; {right}"
    given = _tls_of(kafka)
    if given and isinstance(error, ssl.SSLError | ConnectionResetError):
        return f"it speaks no TLS? leave {given} out"
    why = next(why for kind, why in _WHY.items() if isinstance(error, kind))
    return why.format(sasl=kafka.sasl.value, said=reason_of(error))


def _why_no_trust(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAMES:
        next_step = "name it in brokers as its certificate does"
    else:
        next_step = "set ca_file to the certificate of who signed it"
    return f"its certificate can't be trusted ({error.verify_message}); {next_step}"


def _tls_of(kafka: KafkaSettings) -> str:
    """The settings that have us speak TLS."""
    names = ("tls", "ca_file", "cert_file", "key_file")
    return " and ".join(name for name in names if getattr(kafka, name))
