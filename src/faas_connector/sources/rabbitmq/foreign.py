"""The environment of the existing connector's chart, in the words of our options."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast
from urllib.parse import unquote

from faas_connector.errors import ConfigError
from faas_connector.options import Foreign


def _split(url: str) -> tuple[str, str, str]:
    """An address, the user and the password that it holds."""
    scheme, mark, rest = url.partition("://")
    before, _, address = rest.rpartition("@")
    user, _, password = before.partition(":")
    return f"{scheme}{mark}{address}", unquote(user), unquote(password)


def _queues(text: str) -> list[dict[str, object]]:
    """The list of the existing connector: `[{"name": "orders", "durable": true}]`."""
    try:
        found: object = json.loads(text)
    except ValueError:
        found = None
    queues = cast("list[object]", found) if isinstance(found, list) else []
    if not queues or not all(isinstance(each, dict) and "name" in each for each in queues):
        raise ConfigError('must be a JSON list such as [{"name": "orders", "durable": true}]')
    return cast("list[dict[str, object]]", queues)


def _names(text: str) -> str:
    return json.dumps([str(each["name"]) for each in _queues(text)])


def _common(field: str) -> Callable[[str], str]:
    def value(text: str) -> str:
        values = {bool(each.get(field)) for each in _queues(text)}
        if len(values) > 1:
            raise ConfigError(f"queues differ in {field}; give them sources of their own in a file")
        return str(values.pop()).lower()

    return value


def _flag(field: str) -> Foreign:
    return Foreign("queues", _common(field))


URL = Foreign("rabbitmq_url", lambda url: _split(url)[0])
USER = Foreign("rabbitmq_url", lambda url: _split(url)[1])
PASSWORD = Foreign("rabbitmq_url", lambda url: _split(url)[2])
QUEUES = Foreign("queues", _names)
DURABLE, AUTO_DELETE, EXCLUSIVE = map(_flag, ("durable", "autodelete", "exclusive"))
