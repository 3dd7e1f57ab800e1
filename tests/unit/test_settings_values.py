"""One definition, three places: a file, the environment and flags give the same values."""

from __future__ import annotations

import enum
import json
import string
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.auth import Secret, SecretFile
from faas_connector.errors import ConfigError
from faas_connector.options import Bytes, Foreign, Seconds, option, settings
from faas_connector.settings.definition import leaves, options_of, schema_of
from faas_connector.settings.describing import written
from faas_connector.settings.layers import (
    construct,
    environment_layer,
    flag_layer,
    resolve,
)
from faas_connector.settings.raw import Composer


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


@settings
class Inner:
    """A part."""

    depth: int = 3
    """How deep."""
    wait: Seconds = 1.5
    """How long."""


@settings
class Item:
    """One of a list."""

    name: str
    """Its name."""
    every: Seconds = 60.0
    """How often."""


def _host(text: str) -> str:
    if not text.isalpha():
        raise ConfigError(f"{text!r} is no host")
    return f"nats://{text}:4222"


@settings
class Specimen:
    """Every kind of option."""

    url: str = option(default="nats://nats:4222", env=("server", Foreign("broker_host", _host)))
    """Where it is."""
    topics: tuple[str, ...] = option(default=(), env=("topics",))
    """What is read."""
    codes: frozenset[int] = frozenset()
    """Numbers."""
    interval: Seconds = 10.0
    """How often."""
    deadline: Seconds | None = None
    """How long; None for ever."""
    size: Bytes = 1024
    """How much."""
    ratio: float = 0.5
    """A share."""
    durable: bool = False
    """Whether."""
    colour: Colour = Colour.RED
    """Which."""
    level: Literal["low", "high"] = "low"
    """How high."""
    ca_file: Path | None = None
    """Whom to trust."""
    inner: Inner = option(default_factory=Inner)
    """A part."""
    other: Inner | None = None
    """Another."""
    items: tuple[Item, ...] = ()
    """Several."""
    labels: dict[str, str] = option(default_factory=dict)
    """Words."""
    password: Secret | None = None
    """What nobody should know."""
    hook: object = option(default=None, code_only=True)
    """For programs."""


OPTIONS = options_of(Specimen)


def made(*layers):
    found = resolve(OPTIONS, layers, "specimen")
    return construct(Specimen, OPTIONS, found, "specimen", "the command line")


def from_file(text: str) -> Specimen:
    return made(leaves(Composer("connector.yaml").read(text), OPTIONS, "specimen"))


def from_environment(environ: dict[str, str]) -> Specimen:
    return made(environment_layer(OPTIONS, environ, source="specimen"))


def from_flags(flags) -> Specimen:
    return made(flag_layer(OPTIONS, flags))


words = st.text(string.ascii_letters + string.digits + " ,[]{}:#'\"$é-.", min_size=1).filter(
    lambda text: text == text.strip()
)
seconds = st.integers(0, 10**9).map(lambda each: each / 1000)
given_values = st.fixed_dictionaries(
    {},
    optional={
        ("url",): words,
        ("topics",): st.lists(words, max_size=4).map(tuple),
        ("codes",): st.frozensets(st.integers(100, 599), max_size=4),
        ("interval",): seconds,
        ("deadline",): seconds,
        ("size",): st.integers(0, 2**50),
        ("ratio",): st.floats(-1e9, 1e9),
        ("durable",): st.booleans(),
        ("colour",): st.sampled_from(Colour),
        ("level",): st.sampled_from(["low", "high"]),
        ("ca_file",): words.map(Path),
        ("inner", "depth"): st.integers(-5, 5),
        ("inner", "wait"): seconds,
        ("other", "depth"): st.integers(-5, 5),
    },
)
BY_PATH = {each.path: each for each in OPTIONS}


@given(given_values)
def test_a_file_the_environment_and_flags_give_the_same_values(values):
    texts = {path: written(value, BY_PATH[path].kind) for path, value in values.items()}
    environ = {BY_PATH[path].variable("specimen"): text for path, text in texts.items() if text}
    file: dict = {}
    for path, text in texts.items():
        if text:
            part = file
            for key in path[:-1]:
                part = part.setdefault(key, {})
            part[path[-1]] = text
    flags = {BY_PATH[path].flag: text for path, text in texts.items() if text}
    expected = from_flags(flags)
    assert from_environment(environ) == expected
    assert from_file(json.dumps(file, ensure_ascii=False)) == expected
    for path, value in values.items():
        found = expected
        for key in path:
            found = getattr(found, key)
        assert found == value or not texts[path]


def test_lists_of_parts_and_tables_in_all_three_places():
    text = "{items: [{name: a}, {name: b, every: 5s}], labels: {x: '1'}}"
    expected = Specimen(items=(Item(name="a"), Item(name="b", every=5.0)), labels={"x": "1"})
    texts = {"items": "[{name: a}, {name: b, every: 5s}]", "labels": "{x: '1'}"}
    assert from_file(text) == expected
    assert from_flags(texts) == expected
    names = {f"FAAS_CONNECTOR_SPECIMEN_{name.upper()}": each for name, each in texts.items()}
    assert from_environment(names) == expected


def test_a_repeated_flag_is_a_list():
    assert from_flags({"topics": ("a,b", "c")}).topics == ("a,b", "c")
    assert from_flags({"topics": ("a,b",)}).topics == ("a", "b")


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("[::1]:9092", ("[::1]:9092",)),
        ("[fe80::1]:9092, kafka:9092", ("[fe80::1]:9092", "kafka:9092")),
        ("['[::1]:9092', kafka]", ("[::1]:9092", "kafka")),
        ("[a, b]", ("a", "b")),
    ],
)
def test_a_list_of_ipv6_addresses_is_no_list_in_short_form(text, topics):
    assert from_flags({"topics": text}).topics == topics
    assert from_environment({"topics": text}).topics == topics
    assert from_file(json.dumps({"topics": text})).topics == topics


def test_a_list_of_parts_with_a_mistake_is_no_text():
    with pytest.raises(ConfigError, match=r"^--items:1: no YAML: "):
        from_flags({"items": "[{name: a}, {name: b]"})


def test_names_of_existing_connectors_are_taken_and_translated():
    found = from_environment({"topics": "a, b", "broker_host": "nats"})
    assert (found.topics, found.url) == (("a", "b"), "nats://nats:4222")
    with pytest.raises(ConfigError, match=r"^\$broker_host: '1:2' is no host"):
        from_environment({"broker_host": "1:2"})
    with pytest.raises(ConfigError, match=r"^\$topics:1: specimen.topics"):
        made({("topics",): Composer("$topics").read("{a: b}")})


def test_flags_win_over_the_environment_and_that_over_the_file():
    layers = [
        flag_layer(OPTIONS, {"url": "flag"}),
        environment_layer(OPTIONS, {"server": "environment", "topics": "environment"}),
        leaves(Composer("f").read("{url: f, topics: f, size: 5, inner: {depth: 9}}"), OPTIONS, "x"),
    ]
    found = made(*layers)
    assert (found.url, found.topics, found.size) == ("flag", ("environment",), 5)
    assert (found.inner.depth, found.inner.wait) == (9, 1.5)


def test_a_secret_as_text_or_file_and_never_both(tmp_path):
    (tmp_path / "p").write_text("hush\n")
    assert from_file("password: hush").password == "hush"
    held = from_flags({"password-file": str(tmp_path / "p")}).password
    assert isinstance(held, SecretFile)
    assert held.get() == "hush"
    with pytest.raises(ConfigError, match="give password or password_file, not both"):
        from_file(f"password: hush\npassword_file: {tmp_path / 'p'}")
    assert "password" not in {each.flag for each in OPTIONS}


def test_what_is_empty_is_left_at_its_default():
    assert from_file("url:\ninner:\ntopics: ~") == Specimen()
    assert from_environment({"topics": "", "FAAS_CONNECTOR_SPECIMEN_URL": ""}) == Specimen()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1", "connector.yaml:1: specimen has no 'a'; known: url, topics"),
        ("\ntopic: x", "connector.yaml:2: specimen has no 'topic'; did you mean 'topics'?"),
        (
            "inner:\n  dept: 1",
            "specimen.inner has no 'dept'; did you mean 'depth'?, for example: depth: 3",
        ),
        ("interval: 30", "connector.yaml:1: specimen.interval: '30' is no duration; write for"),
        ("size: big", "connector.yaml:1: specimen.size: 'big' is no size; write for example"),
        ("codes: [1, x]", "connector.yaml:1: specimen.codes: 'x' is no whole number"),
        ("colour: blue", "connector.yaml:1: specimen.colour: 'blue' is none of red, dark-blue"),
        ("durable: maybe", "specimen.durable: 'maybe' is neither true nor false"),
        ("url: [a]", "specimen.url must be one text, got a list"),
        ("inner: 5", "specimen.inner must be a map, got '5'"),
        ("items: [{every: 5s}]", "specimen.items: name is needed"),
        ("items: [{nam: x}]", "specimen.items has no 'nam'; did you mean 'name'?"),
        ("url: a\nurl: b", "connector.yaml:2: url stands twice, first in connector.yaml:1"),
        ("url: 'a", "connector.yaml:1: no YAML: found unexpected end of stream"),
        ("hook: x", "specimen has no 'hook'"),
        ("labels: &x {a: *x}", "an alias stands inside of what it means"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(ConfigError) as failure:
        from_file(text)
    assert message in str(failure.value)


def test_merge_keys():
    found = from_file("labels: &base {a: x, b: y}\nother: {}\nurl: u")
    assert found.labels == {"a": "x", "b": "y"}
    merged = Composer("f").read("base: &b {depth: 1}\ninner: {<<: *b, wait: 2s}").data
    assert isinstance(merged, dict)
    assert merged["inner"].entries("inner", "")["depth"].data == "1"


def test_the_schema_knows_every_option():
    schema = schema_of(OPTIONS)
    assert set(schema["properties"]) == {each.path[0] for each in OPTIONS}
    assert schema["properties"]["inner"]["properties"]["depth"]["default"] == "3"
    assert schema["properties"]["interval"]["description"] == "How often."
    assert schema["additionalProperties"] is False
