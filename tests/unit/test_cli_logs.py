"""Lines of a run's log: their fields, and nothing that looks like a line of its own."""

import json
import logging
import sys

import pytest

from faas_connector.cli.logs import JsonLines, _TextLines

EVIL = "1\n2026-11-24 ERROR forged\r\x1b[2J\x85\u2028"


def record(message, *arguments, error=None, **extra):
    made = logging.LogRecord("faas_connector.x", logging.ERROR, "", 0, message, arguments, error)
    vars(made).update(extra)
    return made


@pytest.mark.parametrize("formatter", [_TextLines(), JsonLines()])
def test_no_field_makes_a_line(formatter):
    line = formatter.format(record("lost %s", EVIL, topic=EVIL, event_id=EVIL))
    assert line.isprintable()


def test_text_has_the_fields_that_the_message_lacks():
    line = _TextLines().format(record("dead letter: f.ns", function="f.ns", call_id="c", attempt=3))
    assert line.endswith("dead letter: f.ns [call_id=c attempt=3]")


def test_json_keeps_the_fields():
    fields = json.loads(JsonLines().format(record("lost", topic=EVIL, event_id="ä", attempt=2)))
    assert (fields["topic"], fields["event_id"], fields["attempt"]) == (EVIL, "ä", 2)


@pytest.mark.parametrize("formatter", [_TextLines(), JsonLines()])
def test_a_field_is_cut(formatter):
    line = formatter.format(record("lost", topic="t" * 512, event_id="i" * 900_000))
    assert "t" * 512 in line
    assert "i" * 512 + "… (900000 characters)" in line
    assert len(line) < 2000


def test_a_traceback_is_set_in():
    try:
        raise ValueError(EVIL)
    except ValueError:
        first, *rest = _TextLines().format(record("failed", error=sys.exc_info())).split("\n")
    assert first.endswith("failed")
    assert rest
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
