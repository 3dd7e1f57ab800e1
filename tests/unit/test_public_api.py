"""The public names: pinned, documented, and light to import."""

import ast
import dataclasses
import doctest
import functools
import importlib
import inspect
import subprocess
import sys
import textwrap

import msgspec
import pytest

import faas_connector

PUBLIC = [
    "BasicAuth",
    "BearerToken",
    "ConfigError",
    "ConnectorError",
    "Controller",
    "ControllerConfig",
    "Delivery",
    "Event",
    "FunctionContract",
    "FunctionName",
    "GatewayError",
    "Headers",
    "Invocation",
    "InvokerResponse",
    "Limits",
    "LogResponses",
    "RetryPolicy",
    "Source",
    "Timeouts",
    "TopicMap",
    "TopicMatcher",
    "TransportError",
    "__version__",
]
CLASSES = [name for name in PUBLIC if name != "__version__"]
MODULES = [
    "auth",
    "config",
    "contract",
    "controller",
    "durations",
    "errors",
    "event",
    "headers",
    "matching",
    "names",
    "response",
    "retry",
    "source",
    "topic_map",
    "urls",
]


def test_the_public_names_are_these():
    assert sorted(faas_connector.__all__) == PUBLIC


def test_a_star_import_gives_them_all():
    names = {}
    exec("from faas_connector import *", names)
    assert set(PUBLIC) <= set(names)


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_is_documented_with_its_methods_and_properties(name):
    public = getattr(faas_connector, name)
    assert public.__doc__
    for attribute, value in vars(public).items():
        member = getattr(value, "__func__", value)  # of a class method
        if not attribute.startswith("_") and (
            inspect.isfunction(member) or isinstance(value, property)
        ):
            assert inspect.getdoc(member), f"{name}.{attribute}"


def is_record(name):
    kind = getattr(faas_connector, name)
    return dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct)


@pytest.mark.parametrize("name", [*filter(is_record, CLASSES)])
def test_every_field_says_below_itself_what_it_means(name):
    source = textwrap.dedent(inspect.getsource(getattr(faas_connector, name)))
    body = ast.parse(source).body[0].body
    silent = [
        node.target.id
        for node, after in zip(body, [*body[1:], None], strict=True)
        if isinstance(node, ast.AnnAssign)
        and not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
    ]
    assert silent == []


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_hold(name):
    module = importlib.import_module(f"faas_connector.{name}")
    assert doctest.testmod(module).failed == 0
    assert module.__doc__


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    with_examples = {
        test.name.rpartition(".")[2]
        for name in MODULES
        for test in finder.find(importlib.import_module(f"faas_connector.{name}"))
        if test.examples
    }
    assert with_examples >= {"BasicAuth", "BearerToken", "ControllerConfig", "Event", "TopicMap"}


@functools.cache
def loaded():
    """Every module that `import faas_connector` brings with it."""
    code = "import sys; known = set(sys.modules); import faas_connector; "
    code += "print(*set(sys.modules) - known)"
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=25)
    return frozenset(done.stdout.split())


def test_importing_it_brings_no_tool_of_the_commands():
    heavy = {"click", "yaml", "uvloop", "sqlite3", "aiohttp", "h11", "http", "unittest"}
    assert not loaded() & heavy


def test_importing_it_brings_nothing_but_msgspec():
    tops = {name.partition(".")[0] for name in loaded()}
    msgspec_s_own = "typing_extensions"  # taken along where it is there
    assert tops - sys.stdlib_module_names <= {"faas_connector", "msgspec", msgspec_s_own}
    assert "msgspec" in tops


def test_importing_it_leaves_the_upper_floors_alone():
    upper = ("cli", "local", "testing", "sources", "stores", "observability")
    assert not loaded() & {f"faas_connector.{floor}" for floor in upper}
