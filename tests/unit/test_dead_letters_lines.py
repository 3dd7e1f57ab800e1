"""Dead letters as JSON lines: they come back as they went out."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.dead_letters.lines import (
    LineError,
    UnreadableLine,
    decode_line,
    encode_line,
    format_time,
    parse_time,
    read_lines,
)
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.store import Entry, Reason, State, Stored

# Half of a surrogate pair, too: an argument that is no UTF-8 becomes such text.
texts = st.text(st.characters(exclude_categories=[]))
some_text = st.none() | texts
seconds = st.floats(0, 4e9) | st.floats(allow_nan=False, allow_infinity=False)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
events = st.builds(
    Event,
    topic=texts,
    data=st.binary() | st.text().map(str.encode),
    headers=st.dictionaries(texts, texts, max_size=4),
    content_type=some_text,
    id=some_text,
    key=some_text,
    time=st.none() | st.datetimes(timezones=st.none() | zones),
)
names = st.builds(FunctionName, st.text("ab.-", min_size=1), st.text("ab-"))
entries = st.builds(
    Entry,
    id=st.integers(0, 2**63 - 1),
    state=st.sampled_from(State),
    source=texts,
    position=some_text,
    function=st.none() | names,
    event=st.none() | events,
    ordered=st.booleans(),
    call_id=texts,
    due=seconds,
    attempts=st.integers(0, 2**31),
    calls=st.integers(0, 2**31),
    reason=st.none() | st.sampled_from(Reason),
    status=st.none() | st.integers(100, 599),
    what=texts,
    answer=st.binary(),
    first=seconds,
    last=seconds,
    damage=texts,
    stored=st.none() | st.builds(Stored, *[st.binary(max_size=9)] * 4),
)
LETTER = Entry(
    id=7,
    state=State.DEAD,
    source="orders",
    position="orders/0/12",
    function=FunctionName("mail", "shop"),
    event=Event("orders.new", b"\xff\x00", {"X-A": "b"}, "text/plain", "o-1", "k"),
    reason=Reason.ATTEMPTS,
    status=500,
    what="500 no",
    answer="ä".encode(),
    attempts=5,
    calls=6,
    first=1.5,
    last=1_764_000_295.123_456_7,
    call_id="c",
)


@given(entries)
def test_what_was_written_is_read_back(entry):
    line = encode_line(entry)
    assert line.isprintable()
    assert decode_line(line) == entry


@given(st.lists(entries, max_size=5))
def test_a_file_gives_its_entries_in_order(written):
    file = io.BytesIO("".join(f"{encode_line(entry)}\n" for entry in written).encode())
    assert [found for _, _, found in read_lines(file)] == written


@given(seconds)
def test_a_time_keeps_each_digit(time):
    text = format_time(time)
    assert text == time if isinstance(text, float) else parse_time(text) == time


def test_a_line_for_people_and_programs():
    shown = json.loads(encode_line(LETTER))
    assert shown["function"] == "mail.shop"
    assert shown["reason"] == "attempts"
    assert shown["last"] == "2025-11-24T16:04:55.1234567Z"
    assert shown["first"] == "1970-01-01T00:00:01.5Z"
    assert shown["event"]["data"] == "/wA="
    assert shown["event"]["data_encoding"] == "base64"
    assert (shown["answer"], shown["answer_encoding"]) == ("ä", "utf-8")
    assert not {"state", "due", "damage"} & set(shown)


def test_a_letter_that_someone_wrote_by_hand():
    entry = decode_line('{"function": "mail.shop", "event": {"topic": "t", "data": "x"}}')
    assert entry.function == FunctionName("mail", "shop")
    assert entry.event == Event("t", b"x")
    assert entry.state is State.DEAD
    assert decode_line('{"function": "mail", "event": null}').function == FunctionName("mail")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-24T09:30:00Z", datetime(2026, 11, 24, 9, 30, tzinfo=UTC).timestamp()),
        ("2026-11-24 09:30:00", datetime(2026, 11, 24, 9, 30, tzinfo=UTC).timestamp()),
        ("2026-11-24T09:30:00.25+01:30", datetime(2026, 11, 24, 8, tzinfo=UTC).timestamp() + 0.25),
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC).timestamp()),
        ("1969-12-31T23:59:59.5z", -0.5),
    ],
)
def test_times(text, time):
    assert parse_time(text) == time


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "2026-11-24T25:00:00Z", "12:00:00"])
def test_no_times(text):
    with pytest.raises(LineError, match="is no time; write for example"):
        parse_time(text)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "no JSON"),
        ("[]", "no dead letter (Expected `object`, got `array`)"),
        ("{}", "`event`"),
        ('{"event": {}}', "`topic`"),
        ('{"event": {"topic": 1}}', "$.event.topic"),
        ('{"event": null, "reason": "no"}', "'no'"),
        ('{"event": {"topic": "", "data": "?", "data_encoding": "base64"}}', "event.data"),
        ('{"event": null, "answer": "\\ud800"}', "answer is no utf-8"),
        ('{"event": {"topic": "", "time": "soon"}}', "event.time is no time: 'soon'"),
        ('{"event": null, "first": "soon"}', "'soon' is no time"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_why_a_line_is_no_letter(line, why):
    with pytest.raises(LineError) as caught:
        decode_line(line)
    assert why in str(caught.value)


def test_lines_that_are_no_letters_are_numbered():
    good = encode_line(LETTER).encode()
    file = io.BytesIO(b"\xef\xbb\xbf" + good + b"\n\n{\n\xff\n  " + good + b"\r\n" + good[:50])
    assert [(number, found) for number, _, found in read_lines(file)] == [
        (1, LETTER),
        (3, UnreadableLine(3, _why("{"))),
        (4, UnreadableLine(4, "no UTF-8")),
        (5, LETTER),
        (6, UnreadableLine(6, _why(good[:50].decode()))),
    ]


def _why(line: str) -> str:
    with pytest.raises(LineError) as caught:
        decode_line(line)
    return str(caught.value)
