"""Every source that is installed can be set up in all ways."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

from faas_connector.cli.app import run
from faas_connector.errors import ConfigError
from faas_connector.options import extra_of
from faas_connector.settings.connector import connector_options
from faas_connector.settings.schema import connector_schema
from faas_connector.settings.sources import (
    RUN_FLAGS,
    load_source,
    scope_options,
    source_kinds,
    source_options,
)

KINDS = list(source_kinds())


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_an_option_or_says_that_it_is_none(kind):
    source = load_source(kind)
    options = {option.target[0] for option in source_options(kind, source)}
    fields = {
        field.name
        for field in dataclasses.fields(source)
        if field.init and not extra_of(field.metadata).code_only
    }
    assert options == fields - {"name"}
    assert "name" in fields


@pytest.mark.parametrize("kind", KINDS)
def test_flags_and_variables_are_unique_and_explained(kind):
    own = [*source_options(kind, load_source(kind)), *scope_options()]
    options = [*connector_options(), *own]
    flags = [option.flag for option in options if option.flag]
    variables = [option.variable(kind) for option in own]
    assert len({*flags, *RUN_FLAGS}) == len(flags) + len(RUN_FLAGS)
    assert len(set(variables)) == len(variables)
    assert [option.name for option in options if not option.help or not option.example] == []


@pytest.mark.parametrize("kind", KINDS)
def test_help_shows_every_flag(kind, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(["run", kind, "--help"]) == 0
    text = capsys.readouterr().out
    for option in (*connector_options(), *source_options(kind, load_source(kind))):
        if option.flag:
            assert f"--{option.flag} " in text


def test_no_secret_is_given_on_the_command_line():
    for kind in KINDS:
        assert not [
            option.name
            for option in source_options(kind, load_source(kind))
            if option.is_secret and option.flag
        ]


def test_the_schema_has_every_source():
    schema = connector_schema()["properties"]["sources"]["items"]["properties"]
    assert set(KINDS) < set(schema)
    assert schema["timer"]["properties"]["interval"]["default"] == "10s"


def test_an_unknown_source():
    with pytest.raises(ConfigError, match="there is no source 'timr'; did you mean 'timer'"):
        load_source("timr")
