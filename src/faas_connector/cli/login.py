"""The login that `faas-cli login` stored, read as faas-cli itself reads it.

The file is `config.yml` in `$OPENFAAS_CONFIG`, else in `.openfaas` of the current folder where
`CI` is `true` or `1`, else in `~/.openfaas`. It holds one entry per gateway, named by its URL
in lower case and without a slash at the end.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import yaml

from faas_connector.auth import BasicAuth, BearerToken
from faas_connector.errors import ConfigError


def login_path(environ: Mapping[str, str], home: Path, folder: Path) -> Path:
    """Where faas-cli keeps its logins."""
    override = environ.get("OPENFAAS_CONFIG")
    if override:
        first, *rest = Path(override).parts
        where = Path(home, *rest) if first == "~" else folder / override
    elif environ.get("CI") in {"true", "1"}:
        where = folder / ".openfaas"
    else:
        where = home / ".openfaas"
    return where / "config.yml"


def stored_login(gateway: str, path: Path) -> BasicAuth | BearerToken | None:
    """The credentials that are stored for a gateway; None where there are none.

    Raises:
        ConfigError: the file is there and can't be read, or the entry can't be used.
    """
    wanted = _key(gateway)
    for entry in _entries(path):
        if _key(str(entry.get("gateway", ""))) == wanted:
            return _auth(entry, gateway, path)
    return None


def stored_gateways(path: Path) -> tuple[str, ...]:
    """The gateways for which there is a login, as they stand in the file.

    Raises:
        ConfigError: the file is there and can't be read.
    """
    return tuple(str(entry["gateway"]) for entry in _entries(path) if entry.get("gateway"))


def _key(gateway: str) -> str:
    return gateway.rstrip("/").lower()


def _entries(path: Path) -> Iterator[Mapping[str, object]]:
    try:
        document: object = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, yaml.YAMLError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no YAML"
        raise ConfigError(
            f"can't read the logins of faas-cli in {path} ({reason}); "
            "log in again with: faas-cli login -g URL -s"
        ) from error
    auths = cast("object", document.get("auths")) if isinstance(document, dict) else None  # pyright: ignore[reportUnknownMemberType]
    for entry in cast("list[object]", auths) if isinstance(auths, list) else []:
        if isinstance(entry, dict):
            yield cast("Mapping[str, object]", entry)


def _auth(entry: Mapping[str, object], gateway: str, path: Path) -> BasicAuth | BearerToken | None:
    token = str(entry.get("token") or "")
    if not token:
        return None
    if entry.get("auth") != "basic":
        return BearerToken(token)
    try:
        user, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user = colon = password = ""
    if not user or not colon:
        raise ConfigError(
            f"the login for {gateway} in {path} is damaged; "
            f"log in again with: faas-cli login -g {gateway} -s"
        )
    return BasicAuth(user, password)
