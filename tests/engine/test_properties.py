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

SIZES = pytest.mark.parametrize(
    "examples",
    [
        pytest.param(100, id="some", marks=pytest.mark.timeout(120)),
        pytest.param(20_000, marks=[pytest.mark.soak, pytest.mark.timeout(0)], id="many"),
    ],
)
WITHOUT_BREAKS = ("outage", "store", "vanish", "absent")


@SIZES
def test_one_run_delivers_everything_once_and_in_order(examples):
    for_all(in_one_run, scenarios(positions=True), st.none(), examples=examples)


@SIZES
def test_a_source_without_positions_loses_nothing(examples):
    found = scenarios(positions=False, incidents=WITHOUT_BREAKS)
    for_all(without_positions, found, st.none(), examples=examples)


@SIZES
def test_stops_lose_nothing_and_repeat_nothing(examples):
    found = scenarios(positions=True, incidents=CUT_SHORT)
    for_all(after_stops, found, MOMENTS, examples=examples)


@SIZES
def test_crashes_lose_nothing_and_repeat_nothing_that_was_done_with(examples):
    for_all(after_crashes, scenarios(incidents=CUT_SHORT), MOMENTS, examples=examples)
