"""The JSON schema of connector.yaml, by which editors complete and check it."""

from __future__ import annotations

from faas_connector.errors import ConfigError, MissingExtraError
from faas_connector.settings.connector import connector_options
from faas_connector.settings.definition import schema_of
from faas_connector.settings.describing import summary
from faas_connector.settings.file import VERSION
from faas_connector.settings.kinds import Schema
from faas_connector.settings.sources import (
    load_source,
    scope_options,
    source_kinds,
    source_options,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ANY: Schema = {"type": ["object", "null"]}


def connector_schema() -> Schema:
    """The schema of a file, with the sources that are installed."""
    general = schema_of(connector_options())
    properties: Schema = {
        "version": {"const": int(VERSION), "description": "The form of this file."},
        **general["properties"],
        "sources": {
            "type": "array",
            "minItems": 1,
            "description": "Where events come from.",
            "items": _source(),
        },
    }
    return {
        "$schema": DIALECT,
        "title": "connector.yaml of faas-connector",
        **general,
        "properties": properties,
        "required": ["version", "sources"],
    }


def _source() -> Schema:
    kinds = {kind: _of_kind(kind) for kind in source_kinds()}
    envelope: Schema = {
        "name": {"type": "string", "description": "A stable name; the kind, if not given."},
        **schema_of(scope_options())["properties"],
    }
    return {
        "type": "object",
        "properties": {**envelope, **kinds},
        "additionalProperties": False,
        "oneOf": [{"required": [kind]} for kind in kinds],
    }


def _of_kind(kind: str) -> Schema:
    try:
        source = load_source(kind)
    except (MissingExtraError, ConfigError) as error:
        return {**_ANY, "description": str(error)}
    found = schema_of(source_options(kind, source))
    needs = {} if "required" in found else {"type": ["object", "null"]}
    return {**found, **needs, "description": summary(source)}
