"""Which of a request's headers go on to functions."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.sources.webhook.passing import passing

LETTERS = "ab*-[?]!.\\"


@pytest.mark.parametrize(
    ("patterns", "name", "passes"),
    [
        (["X-Shop-*"], "x-shop-id", True),
        (["X-Shop-*"], "x-shop-", True),
        (["X-Shop-*"], "x-shop", False),
        (["X-Shop-*"], "ax-shop-id", False),
        (["X-A", "*-Id"], "x-a", True),
        (["X-A", "*-Id"], "x-shop-id", True),
        (["X-A", "*-Id"], "x-a-id-b", False),
        (["*"], "accept", True),
        (["*"], "content-type", False),
        (["x-?"], "x-a", False),
        (["x-[ab]"], "x-a", False),
    ],
)
def test_a_star_stands_for_any_text(patterns, name, passes):
    assert passing(patterns)(name) is passes


def test_without_patterns_nothing_passes():
    assert passing([]) is None


@given(st.lists(st.text(LETTERS, max_size=5), min_size=1, max_size=3), st.text(LETTERS, max_size=6))
def test_all_else_in_a_pattern_stands_for_itself(patterns, name):
    expression = "|".join(re.escape(each).replace(r"\*", ".*") for each in patterns)
    assert passing(patterns)(name) is (re.fullmatch(expression, name) is not None)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("X-*-*-*-Id", "x-" + "-" * 31_000),
        ("X-*-Meta-*-Id", "x-" + "-meta-" * 5000),
        ("*a*a*a*a*a*a*b", "a" * 31_000),
    ],
)
def test_no_name_takes_long(pattern, name):
    begun = time.process_time()
    assert not passing([pattern])(name)
    assert time.process_time() - begun < 1.0
