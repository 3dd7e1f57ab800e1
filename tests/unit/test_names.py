"""Names of functions, split as the gateway splits them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.errors import ConfigError
from faas_connector.names import FunctionName, Invocation

ROUTE = string.ascii_letters + string.digits + "-_"
WITH_DOTS = st.text(alphabet=ROUTE + ".", min_size=1)
WITHOUT_DOTS = st.text(alphabet=ROUTE, min_size=1)


@given(WITH_DOTS, WITHOUT_DOTS)
def test_a_name_with_its_namespace_comes_back(name, namespace):
    whole = FunctionName(name, namespace)
    assert str(whole) == f"{name}.{namespace}"
    assert FunctionName.parse(str(whole)) == whole


@given(WITHOUT_DOTS)
def test_a_bare_name_comes_back_without_a_namespace(name):
    assert str(FunctionName(name)) == name
    assert FunctionName.parse(name) == FunctionName(name, "")


def test_the_last_dot_divides():
    assert FunctionName.parse("a.b.c") == FunctionName("a.b", "c")


@given(st.text())
def test_whatever_is_taken_is_kept_letter_by_letter(text):
    try:
        name = FunctionName.parse(text)
    except ConfigError as error:
        refusal = str(error)
    else:
        assert str(name) == text
        assert set(text) <= set(ROUTE + ".")
        assert name.name
        return
    assert repr(text) in refusal
    assert "\n" not in refusal


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        ".fn",
        "name.",
        "a b",
        "a/b",
        "a!",
        "a\n",
        "é",
        "a.b.",
        "../system",
        "a%2e",
        "a?b",
    ],
)
def test_what_no_route_takes_is_refused(text):
    with pytest.raises(ConfigError) as caught:
        FunctionName.parse(text)
    assert str(caught.value) == (
        f"{text!r} is no function name: letters, digits, '-', '_' and '.' only, "
        "for example 'printer' or 'printer.openfaas-fn'"
    )


def test_names_sort_and_are_keys():
    names = [FunctionName("b", "a"), FunctionName("a", "b"), FunctionName("a", "a")]
    assert sorted(names) == [FunctionName("a", "a"), FunctionName("a", "b"), FunctionName("b", "a")]
    assert len({*names, FunctionName("a", "a")}) == 3


def test_the_two_routes():
    assert [each.value for each in Invocation] == ["sync", "async"]
