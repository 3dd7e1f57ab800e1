"""The tree of errors is the one that its page draws."""

import ast
import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

import faas_connector
from faas_connector import errors

TREE = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, Exception) and kind.__module__ == errors.__name__
}
STANDARD = {
    "ConfigError": ValueError,
    "MissingExtraError": ImportError,
    "BlockingCallError": RuntimeError,
    "CallTimeoutError": TimeoutError,
}


def drawn():
    """Name -> the name it hangs from, and the standard error it also is, as the docstring draws."""
    parents, found = {}, {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"^( {4}[ |]*)(?:\+- )?(\w+Error)(?: \(also an? (\w+)\))?", line)
        if match:
            depth = (len(match[1]) - 4) // 4 if "+-" in line else -1
            parents[depth] = match[2]
            found[match[2]] = (parents.get(depth - 1), match[3])
    return found


def test_every_error_is_drawn_where_it_hangs():
    tree = drawn()
    assert set(tree) == set(TREE)
    for name, (parent, standard) in tree.items():
        bases = {base.__name__ for base in TREE[name].__bases__}
        assert bases == {parent or "Exception", standard} - {None}


def test_the_standard_errors_catch_ours():
    assert {name for name, kind in TREE.items() if set(kind.__mro__) & {*STANDARD.values()}} == set(
        STANDARD
    )
    for name, standard in STANDARD.items():
        assert issubclass(TREE[name], standard)


@pytest.mark.parametrize("kind", TREE.values(), ids=lambda each: each.__name__)
def test_each_is_caught_as_a_connector_error_and_shows_its_text(kind):
    options = {"status": 502} if kind is errors.GatewayResponseError else {}
    with pytest.raises(errors.ConnectorError) as caught:
        raise kind("what, where, why; next step", **options)
    assert str(caught.value) == "what, where, why; next step"
    assert kind.__doc__


def test_a_status_survives_copying():
    error = errors.GatewayResponseError("http://gw answered 502", status=502)
    assert error.status == 502
    for copied in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(copied) is errors.GatewayResponseError
        assert (str(copied), copied.status) == ("http://gw answered 502", 502)


@pytest.mark.parametrize("status", [401, 403, None])
def test_a_status_of_refused_credentials_survives_copying(status):
    error = errors.GatewayAuthError("http://gw asks for credentials", status=status)
    for copied in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(copied), copied.status) == ("http://gw asks for credentials", status)


SOURCES = sorted(Path(faas_connector.__file__).parent.rglob("*.py"))


def messages_in(path):
    """(line, text) of each piece of a message of ours that stands in a source file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in TREE):
            continue
        for argument in node.args:
            parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
            for part in parts:
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield node.lineno, part.value


def test_the_sources_hold_messages():
    assert len([text for path in SOURCES for _, text in messages_in(path)]) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_message_that_we_write_has_two_lines(path):
    """Also those that no test makes happen."""
    assert [found for found in messages_in(path) if "\n" in found[1]] == []
