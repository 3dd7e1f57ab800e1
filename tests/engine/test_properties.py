"""Whatever happens: nothing lost, nothing repeated, in order, within the limits, settled once."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from .properties import (
    CUT_SHORT,
    MOMENTS,
    after_crashes,
    after_stops,
    for_all,
    in_one_run,
    without_positions,
)
from .scenarios import scenarios

MANY = [pytest.mark.soak, pytest.mark.timeout(0)]
SIZES = pytest.mark.parametrize(
    ("examples", "chosen_by"),
    [
        pytest.param(100, 0, id="some", marks=pytest.mark.timeout(120)),
        *(pytest.param(2000, number, id=f"many {number}", marks=MANY) for number in range(1, 11)),
    ],
)
WITHOUT_BREAKS = ("outage", "store", "vanish", "absent", "forget")


@SIZES
def test_one_run_delivers_everything_once_and_in_order(examples, chosen_by):
    for_all(
        in_one_run, scenarios(positions=True), st.none(), examples=examples, chosen_by=chosen_by
    )


@SIZES
def test_a_source_without_positions_loses_nothing(examples, chosen_by):
    found = scenarios(positions=False, incidents=WITHOUT_BREAKS)
    for_all(without_positions, found, st.none(), examples=examples, chosen_by=chosen_by)


@SIZES
def test_stops_lose_nothing_and_repeat_nothing(examples, chosen_by):
    found = scenarios(positions=True, incidents=CUT_SHORT)
    for_all(after_stops, found, MOMENTS, examples=examples, chosen_by=chosen_by)


@SIZES
def test_crashes_lose_nothing_and_repeat_nothing_that_was_done_with(examples, chosen_by):
    for_all(
        after_crashes,
        scenarios(incidents=CUT_SHORT),
        MOMENTS,
        examples=examples,
        chosen_by=chosen_by,
    )
