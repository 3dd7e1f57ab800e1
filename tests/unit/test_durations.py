"""Durations as Go's `time.ParseDuration` documents them, beside exact arithmetic."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from faas_connector.durations import format_duration, parse_duration
from faas_connector.errors import ConfigError

NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
DIGITS = st.text("0123456789", min_size=1, max_size=6)
NUMBERS = st.one_of(
    DIGITS,
    DIGITS.map("{}.".format),
    DIGITS.map(".{}".format),
    st.builds("{}.{}".format, DIGITS, DIGITS),
)
PARTS = st.lists(st.tuples(NUMBERS, st.sampled_from(list(NANOSECONDS))), min_size=1, max_size=4)


def fraction(number: str) -> Fraction:
    whole, _, part = number.partition(".")
    return Fraction(int(whole or "0")) + Fraction(int(part or "0"), 10 ** len(part))


@given(PARTS)
@example([("1", "h"), ("30", "m"), ("5", "s")])
@example([("1.", "s"), (".5", "s")])
def test_every_spelling_of_go_is_understood(parts):
    expected = sum(fraction(number) * NANOSECONDS[unit] for number, unit in parts) / 10**9
    assume(expected * 10**9 < 2**63)  # Go reads none that are longer
    text = "".join(number + unit for number, unit in parts)
    assert parse_duration(text) == pytest.approx(float(expected), rel=1e-12, abs=1e-15)
    assert parse_duration(f" +{text}\n") == parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("+0", 0.0),
        ("0s", 0.0),
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        ("1h15m30.918273645s", 4530.918273645),
        ("100us", 0.0001),
        ("1ns", 1e-9),
    ],
)
def test_examples(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)
    assert isinstance(parse_duration(text), float)


BAD = [
    "",
    " ",
    "30",
    "-30s",
    "+-1s",
    "++1s",
    "s",
    ".s",
    "1 s",
    "1s 2s",
    "1d",
    "1S",
    "1e3s",
    "0x1s",
    "\u0661s",
    "1s\x00",
    "00",
    "five minutes",
    "9" * 5000 + "h",
    "2562048h",
]


@pytest.mark.parametrize("text", BAD)
def test_anything_else_is_refused_and_shown(text):
    with pytest.raises(ConfigError) as caught:
        parse_duration(text)
    assert str(caught.value) == (
        f"{text!r} is no duration; write for example '30s', '1m30s' or '250ms'"
    )


@given(st.text())
def test_any_text_gives_a_finite_duration_or_one_line(text):
    try:
        seconds = parse_duration(text)
    except ConfigError as error:
        refusal = str(error)
    else:
        assert math.isfinite(seconds)
        assert seconds >= 0
        return
    assert "\n" not in refusal
    assert repr(text) in refusal


def test_the_longest_is_what_go_can_hold():
    assert parse_duration("2562047h47m16s") == 2562047 * 3600 + 47 * 60 + 16
    with pytest.raises(ConfigError):
        parse_duration("2562047h47m17s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 µs"),
        (0.000_85, "850 µs"),
        (0.000_999_4, "999 µs"),
        (0.000_999_6, "1.0 ms"),
        (0.001, "1.0 ms"),
        (0.0123, "12.3 ms"),
        (0.999_94, "999.9 ms"),
        (0.999_96, "1.00 s"),
        (1.25, "1.25 s"),
        (3600, "3600.00 s"),
    ],
)
def test_format(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0, 1e6))
def test_what_is_shown_is_near_the_truth(seconds):
    number, unit = format_duration(seconds).split()
    shown = float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    assert abs(shown - seconds) <= max(0.51e-6, 0.01 * seconds)
