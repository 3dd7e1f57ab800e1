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
    "Backoff",
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
    "OnFailure",
    "RetryPolicy",
    "Scoped",
    "Source",
    "SourceTraits",
    "Timeouts",
    "TopicMap",
    "TopicMatcher",
    "TransportError",
    "Unmatched",
    "__version__",
    "run",
]
CLASSES = [name for name in PUBLIC if name[0].isupper()]
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
def loaded(code):
    """Every module that this code brings with it."""
    code = f"import sys; known = set(sys.modules); {code}; print(*set(sys.modules) - known)"
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return frozenset(done.stdout.split())


def loaded_by_a_name():
    return loaded("from faas_connector import Controller")


def test_importing_it_loads_nothing_before_a_name_is_asked_for():
    brought = loaded("import faas_connector")
    ours = {name for name in brought if name.startswith("faas_connector")}
    assert ours == {"faas_connector"}
    assert not brought & {"asyncio", "dataclasses", "logging", "msgspec", "ssl"}


def test_every_name_is_there_and_listed():
    fresh = "import faas_connector as f; print(dir(f), f.__version__, f.Event, hasattr(f, '_x'))"
    command = [sys.executable, "-I", "-c", fresh]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert all(repr(name) in done.stdout for name in PUBLIC)
    assert done.stdout.endswith(f"{faas_connector.__version__} {faas_connector.Event} False\n")


def test_a_name_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match="module 'faas_connector' has no attribute 'Evnt'"):
        _ = faas_connector.Evnt
    with pytest.raises(ImportError, match="cannot import name 'Evnt'"):
        exec("from faas_connector import Evnt", {})


def test_a_module_is_no_name_but_can_be_taken_as_one():
    brought = loaded("from faas_connector import errors; errors.ConfigError")
    assert "faas_connector.controller" not in brought


def test_type_checkers_see_the_names_of_the_running_program():
    tree = ast.parse(inspect.getsource(faas_connector))
    (for_checkers,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.asname: f"{node.module}.{alias.name}" for node in for_checkers for alias in node.names
    }
    homes = {name: f"faas_connector.{home}.{name}" for name, home in faas_connector._HOMES.items()}
    assert seen == homes


def test_its_names_bring_no_tool_of_the_commands():
    heavy = {"click", "yaml", "uvloop", "sqlite3", "aiohttp", "h11", "http", "unittest"}
    assert not loaded_by_a_name() & heavy


def test_its_names_bring_nothing_but_msgspec():
    tops = {name.partition(".")[0] for name in loaded_by_a_name()}
    msgspec_s_own = "typing_extensions"  # taken along where it is there
    assert tops - sys.stdlib_module_names <= {"faas_connector", "msgspec", msgspec_s_own}
    assert "msgspec" in tops


def test_its_names_leave_the_upper_floors_alone():
    upper = ("cli", "local", "testing", "sources", "stores", "observability")
    assert not loaded_by_a_name() & {f"faas_connector.{floor}" for floor in upper}
