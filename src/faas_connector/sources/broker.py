"""What every source that connects to a broker can be told: who we are, and of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from faas_connector.auth import Secret
from faas_connector.errors import ConfigError
from faas_connector.options import option, settings


@settings
class Credentials:
    """Who we are. A source inherits it."""

    user: str = option(default="", flag="broker-user")
    """The user, where the broker asks for one."""
    password: Secret | None = option(default=None, flag="broker-password", shown=False)
    """The user's password."""


@settings
class BrokerSettings(Credentials):
    """Who we are, and how the broker is recognised. A source inherits it."""

    tls: bool = option(default=False, flag="broker-tls")
    """Whether to speak TLS; a file below, or the scheme of the URL, says so too."""
    ca_file: Path | None = option(default=None, flag="broker-ca-file", example="/etc/broker/ca.crt")
    """Certificates (PEM) that the broker's is signed by; without it, those of the system."""
    cert_file: Path | None = option(
        default=None, flag="broker-cert-file", example="/etc/broker/tls.crt"
    )
    """Our own certificate (PEM), where the broker asks for one."""
    key_file: Path | None = option(
        default=None, flag="broker-key-file", example="/etc/broker/tls.key"
    )
    """The key of our certificate (PEM), where it isn't in the same file."""
    tls_verify: bool = option(default=True, flag="broker-tls-verify")
    """Whether the broker's certificate and host name must be right; `false` for trials only."""


def check_login(login: Credentials, source: str) -> None:
    """Refuse a user without a password, and the other way round.

    Raises:
        ConfigError: one of them is missing.
    """
    if bool(login.user) != (login.password is not None):
        raise ConfigError(
            f"{source}.user and {source}.password go together; for example user: connector with "
            "password_file: /var/openfaas/secrets/broker-password, or --broker-user connector with "
            "--broker-password-file FILE"
        )


def ssl_context(
    tls: BrokerSettings, source: str, *, implied: bool = False
) -> ssl.SSLContext | None:
    """What to connect with; None for a plain connection.

    Args:
        tls: the settings.
        source: what messages begin with.
        implied: whether the address itself says TLS.

    Raises:
        ConfigError: a file can't be read or is no such PEM, or settings contradict each other.
    """
    if not (tls.tls or implied or tls.ca_file or tls.cert_file or tls.key_file):
        return None
    if tls.key_file and not tls.cert_file:
        raise ConfigError(
            f"{source}.key_file is {tls.key_file}, and no cert_file is given; "
            "for example cert_file: /etc/broker/tls.crt"
        )
    try:
        # Whose files it names are the only ones trusted; else those of the system.
        context = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        raise _unusable(f"{source}.ca_file", tls.ca_file, error) from None
    if not tls.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        try:
            # Without a password: else OpenSSL would ask the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except OSError as error:
            name = "cert_file" if tls.key_file is None else "cert_file, key_file"
            path = tls.cert_file if tls.key_file is None else f"{tls.cert_file}, {tls.key_file}"
            raise _unusable(f"{source}.{name}", path, error) from None
    return context


def _unusable(name: str, path: object, error: OSError) -> ConfigError:
    # An SSLError is an OSError too; its own text says which line of OpenSSL it came from.
    reason = "no such PEM" if isinstance(error, ssl.SSLError) else error.strerror or error
    return ConfigError(
        f"{name} is {path}, which can't be used ({reason}); "
        "it must be a readable PEM file, its key without a passphrase"
    )
