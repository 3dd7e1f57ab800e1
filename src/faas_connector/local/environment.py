"""What a function's process finds around it: variables, secrets, the watchdog's settings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.local.function import Answer, Log

SecretValue: TypeAlias = Callable[[str], bytes | None]
"""Gives the value of a secret by name, None when there is none."""

SECRETS_VARIABLE = "secret_mount_path"
"""Names the folder with the function's secrets. In a cluster it is `/var/openfaas/secrets`."""

# A function must not see the developer's own variables (nor his credentials): what works here
# would fail in the cluster. These say where programs, languages and certificates are.
_INHERITED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV",
    "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


class Watchdog(msgspec.Struct, frozen=True):
    """The settings of the watchdog that stands before each function in a cluster."""

    max_inflight: int = 0
    """Calls at a time; more are answered 429. 0 is no limit."""
    exec_timeout: float = 0.0
    """Seconds a call may take. 0 is no limit."""
    content_type: str = ""
    combine_output: bool = True
    """Whether a command's stderr is part of its answer."""
    cgi_headers: bool = True
    write_debug: bool = False

    def too_many(self) -> Answer:
        """The answer of a function that has `max_inflight` calls running."""
        text = f"Concurrent request limit exceeded. Max concurrent requests: {self.max_inflight}\n"
        fields = (("Content-Type", "text/plain"), ("X-OpenFaaS-Internal", "faas-middleware"))
        return Answer(429, fields, text.encode())


def watchdog_of(environment: Mapping[str, str]) -> Watchdog:
    """Read the settings as the watchdog does: what it can't read counts as not given."""
    limit = environment.get("max_inflight", "")
    return Watchdog(
        max_inflight=int(limit) if limit.isascii() and limit.isdigit() else 0,
        exec_timeout=_seconds(environment.get("exec_timeout", "")),
        content_type=environment.get("content_type", ""),
        combine_output=environment.get("combine_output", "true") in {"true", ""},
        cgi_headers=environment.get("cgi_headers", "true") in {"true", ""},
        write_debug=environment.get("write_debug", "") == "true",
    )


def _seconds(text: str) -> float:
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return parse_duration(text)
    except ConfigError:
        return 0.0


def process_environment(own: Mapping[str, str], *, hostname: str, secrets: Path) -> dict[str, str]:
    """The variables of a function's process."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"HOSTNAME": hostname, SECRETS_VARIABLE: str(secrets)} | dict(own)


def make_home(names: tuple[str, ...], value: SecretValue, log: Log) -> Path:
    """A new folder for one process, only for this user, with its secrets as files in `secrets`.

    A secret that there is none of is logged and left out.
    """
    home = Path(tempfile.mkdtemp(prefix="faas-connector-"))  # 0700
    folder = secrets_in(home)
    folder.mkdir(mode=0o700)
    for name in names:
        content = value(name)
        if content is None or "/" in name or name in {"", ".", ".."}:
            log(
                f"the secret {name!r} isn't there; create it with: "
                f"faas-cli secret create {name}, or write it to .secrets/{name} by the stack file"
            )
            continue
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return home


def secrets_in(home: Path) -> Path:
    return home / "secrets"
