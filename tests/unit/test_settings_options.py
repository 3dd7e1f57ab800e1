"""Every option that there is, those of all installed sources: three places, one value."""

from __future__ import annotations

import dataclasses
import re
import string
from pathlib import Path
from typing import Any, get_args, get_type_hints

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.auth import Secret
from faas_connector.errors import ConfigError
from faas_connector.settings.connector import ConnectorSettings, connector_options
from faas_connector.settings.definition import Option, leaves
from faas_connector.settings.describing import written
from faas_connector.settings.kinds import (
    Choice,
    Decimal,
    Duration,
    File,
    Hidden,
    HiddenFile,
    Kind,
    Several,
    Size,
    Text,
    Truth,
    Whole,
    is_settings,
    without_none,
)
from faas_connector.settings.layers import environment_layer, flag_layer, resolve
from faas_connector.settings.raw import Composer, Raw
from faas_connector.settings.schema import connector_schema
from faas_connector.settings.sources import load_source, source_kinds, source_options

DOCS = Path(__file__).parents[2] / "docs"
GROUPS = {kind: source_options(kind, load_source(kind)) for kind in source_kinds()}
GROUPS["general"] = connector_options()
ALL = [(group, option) for group, options in GROUPS.items() for option in options]
SCHEMA = connector_schema()

_WORDS = st.text(string.ascii_letters + string.digits + "./:-_ #'\"", min_size=1).filter(
    lambda text: text == text.strip() and not text.startswith("[")
)


def texts(kind: Kind) -> st.SearchStrategy[str]:  # noqa: PLR0911  # one for each kind
    """How values of a kind may be written."""
    match kind:
        case Choice():
            return st.sampled_from([text for text, _ in kind.values])
        case Truth():
            return st.sampled_from(["true", "false", "yes", "off", "1"])
        case Duration():
            return st.integers(0, 10**6).map("{}ms".format)
        case Size():
            return st.tuples(st.integers(0, 10**6), st.sampled_from(["", "k", "KiB", "MB"])).map(
                lambda pair: f"{pair[0]}{pair[1]}"
            )
        case Whole():
            return st.integers(-(10**9), 10**9).map(str)
        case Decimal():
            return st.floats(-1e6, 1e6).map(repr)
        case Several() if not texts(kind.item).is_empty:
            return st.lists(texts(kind.item).filter(lambda text: "," not in text), min_size=1).map(
                ",".join
            )
        case HiddenFile():
            return st.nothing()
        case Text() | File() | Hidden():
            return _WORDS
        case _:
            return st.nothing()


FILLED = {
    group: st.fixed_dictionaries(
        {},
        optional={each.path: texts(each.kind) for each in options if not texts(each.kind).is_empty},
    )
    for group, options in GROUPS.items()
}


def as_file(values: dict[tuple[str, ...], str]) -> Raw:
    data: dict[str, Any] = {}
    for path, text in values.items():
        part = data
        for key in path[:-1]:
            part = part.setdefault(key, {})
        part[path[-1]] = text
    return Composer("f").read(yaml.safe_dump(data, allow_unicode=True))


@pytest.mark.parametrize("group", GROUPS)
@given(data=st.data())
def test_a_file_the_environment_and_flags_give_the_same(group, data):
    options = GROUPS[group]
    values = data.draw(FILLED[group])
    source = "" if group == "general" else group
    by_path = {each.path: each for each in options}
    environ = {by_path[path].variable(source): text for path, text in values.items()}
    flags = {by_path[path].flag: text for path, text in values.items() if by_path[path].flag}
    file = resolve(options, [leaves(as_file(values), options, group)], group).values
    environment = resolve(options, [environment_layer(options, environ, source=source)], group)
    assert environment.values == file
    by_flags = resolve(options, [flag_layer(options, flags)], group).values
    assert by_flags == {
        target: value
        for target, value in file.items()
        if any(each.target == target and each.flag in flags for each in options)
    }


@pytest.mark.parametrize(("group", "option"), ALL, ids=lambda each: getattr(each, "name", each))
def test_examples_and_defaults_are_right_values(group: str, option: Option):
    text = written(option.default, option.kind)
    if text:
        assert option.kind.read(Raw(text, "x"), "x") == option.default
    if not isinstance(option.kind, Hidden | HiddenFile):
        example = Composer("x").read(option.example)
        value = option.kind.read(example, "x")
        if not text:
            validator = jsonschema.Draft202012Validator(option.kind.schema())
            validator.validate(yaml.safe_load(option.example))
        assert value is not None


def secrets(settings: type) -> list[tuple[type, str]]:
    found = []
    for field in dataclasses.fields(settings):
        hint = without_none(get_type_hints(settings, include_extras=True)[field.name])
        for each in (hint, *get_args(hint)):
            if is_settings(each):
                found += secrets(each)
        if hint == Secret:
            found.append((settings, field.name))
    return found


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        each
        for settings in (ConnectorSettings, *map(load_source, source_kinds()))
        for each in secrets(settings)
    ],
)
def test_no_repr_shows_a_secret(settings, name):
    (field,) = (each for each in dataclasses.fields(settings) if each.name == name)
    assert not field.repr


def test_the_schema_is_one_and_takes_the_examples_of_the_documents():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    found = [
        block
        for path in DOCS.rglob("*.md")
        for block in re.findall(r"```yaml\n(version: 1\n.*?)```", path.read_text(), re.DOTALL)
    ]
    assert len(found) > 1
    for block in found:
        validator.validate(yaml.safe_load(block))


@pytest.mark.parametrize(
    "wrong",
    [
        "version: 2\nsources: [{timer: {}}]",
        "version: 1",
        "version: 1\nsources: []",
        "version: 1\nsources: [{timer: {}, webhook: {topics: [a]}}]",
        "version: 1\nsources: [{timer: {interval: 5}}]",
        "version: 1\nsources: [{timer: {intervall: 5s}}]",
        "version: 1\nlimits: {max_in_flight: many}\nsources: [{timer: {}}]",
        "version: 1\ndefaults: {mode: asnyc}\nsources: [{timer: {}}]",
    ],
)
def test_the_schema_refuses_what_a_run_refuses(wrong):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert list(validator.iter_errors(yaml.safe_load(wrong)))


def test_what_is_not_a_number_is_none():
    with pytest.raises(ConfigError, match=r"is no number; for example 0\.5"):
        Decimal().read(Raw("nan", "x"), "x")
