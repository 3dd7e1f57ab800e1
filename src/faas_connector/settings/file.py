"""connector.yaml: read with `${VAR}` and `${VAR:-default}` in its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from faas_connector.errors import ConfigError
from faas_connector.settings.raw import Composer, Raw

VERSION = "1"
EXAMPLE = "sources: [{timer: {topic: payment.received}}]"

_VARIABLE = re.compile(
    r"\$\$\{|\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}|\$\{[^}]*\}?", re.ASCII
)
_STACK_KEYS = {"provider", "functions"}


def read_file(path: str | Path, environ: Mapping[str, str]) -> Raw:
    """What a file of settings holds.

    Args:
        path: the file.
        environ: the values of `${VAR}`.

    Raises:
        ConfigError: it can't be read, is no YAML, or is a faas-cli stack file.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read ({error.strerror}); name a file of settings with -f, "
            f"for example one that holds 'version: 1' and '{EXAMPLE}'"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text ({error.reason})") from None
    raw = Composer(str(path), lambda each, where: substitute(each, environ, where)).read(text)
    entries = raw.entries("the file", f"version: {VERSION}")
    if "sources" not in entries and _STACK_KEYS & set(entries):
        raise ConfigError(
            f"{path} is a stack file of faas-cli, which lists functions, not sources; lint it with "
            f"faas-connector check --stack {path}, or try it with faas-connector dev "
            f"--stack {path}; a file for run begins with 'version: {VERSION}'"
        )
    return raw


def substitute(text: str, environ: Mapping[str, str], where: str) -> str:
    """The text with its variables replaced; `$${` is a literal `${`.

    Raises:
        ConfigError: a variable without a default is not set, or a `${` is none.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        if found["name"] is None:
            raise ConfigError(
                f"{where}: {found[0]!r} is no variable; write ${{NAME}} or ${{NAME:-default}}, "
                "and $${ for a literal ${"
            )
        given = environ.get(found["name"]) or found["default"]
        if given is None:
            raise ConfigError(
                f"{where}: the variable {found['name']} is not set; set it, or give a default: "
                f"${{{found['name']}:-default}}"
            )
        return given

    return _VARIABLE.sub(value, text)
