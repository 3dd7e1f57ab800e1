"""Every source that is installed can be set up in all ways."""

from __future__ import annotations

import dataclasses
import sys
import types
import warnings
from importlib.metadata import EntryPoint

import pytest

from faas_connector.cli.app import run
from faas_connector.errors import ConfigError, MissingExtraError
from faas_connector.options import extra_of
from faas_connector.settings.connector import connector_options
from faas_connector.settings.schema import connector_schema
from faas_connector.settings.sources import (
    GROUP,
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


class Foreign:
    """A source of another package that is no class of settings."""


def test_a_broken_source_of_another_package_hides_no_other(monkeypatch, capsys, tmp_path):
    broken = {
        "class": EntryPoint("class", f"{__name__}:Foreign", GROUP),
        "gone": EntryPoint("gone", "no_such_module_at_all:Source", GROUP),
        "extra": EntryPoint("extra", "needs_an_extra:Source", GROUP),
        "broken": EntryPoint("broken", "breaks_at_import:Source", GROUP),
    }
    (tmp_path / "breaks_at_import.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    needy = types.ModuleType("needs_an_extra")

    def load(name):
        raise MissingExtraError(
            f"the extra source needs {name}; install it with: pip install 'x[y]'"
        )

    needy.__getattr__ = load
    monkeypatch.setitem(sys.modules, "needs_an_extra", needy)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, types.ModuleType("m")))
    monkeypatch.setattr(sys.modules[__name__], "Foreign", Foreign, raising=False)
    known = {**source_kinds(), **broken}
    monkeypatch.setattr("faas_connector.settings.sources.source_kinds", lambda: known)
    monkeypatch.setattr("faas_connector.settings.schema.source_kinds", lambda: known)
    monkeypatch.setattr("faas_connector.settings.loading.source_kinds", lambda: known)
    monkeypatch.setattr("faas_connector.cli.sources.source_kinds", lambda: known)
    assert run(["sources"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "yes" in lines["timer"]
    assert "it is no class of settings" in lines["class"]
    assert "no_such_module_at_all" in lines["gone"]
    assert "the source 'broken' can't be imported from breaks_at_import:Source" in lines["broken"]
    assert "(ZeroDivisionError: division by zero); mend that package, or rem" in lines["broken"]
    assert "pip install 'x[y]'" in lines["extra"]
    path = tmp_path / "connector.yaml"
    path.write_text("version: 1\nsources: [{extra: }]\n")
    for arguments in (["extra"], ["-f", str(path)]):
        assert run(["run", *arguments]) == 2
        assert "install it with: pip install 'x[y]'" in capsys.readouterr().err
    for arguments in (["broken"], ["-f", str(path)]):
        path.write_text("version: 1\nsources: [{broken: }]\n")
        assert run(["run", *arguments]) == 2
        assert "the source 'broken' can't be imported" in capsys.readouterr().err
    assert run(["run", "timer", "--help"]) == 0
    assert set(known) < set(connector_schema()["properties"]["sources"]["items"]["properties"])
