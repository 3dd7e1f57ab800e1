"""What commands print: what others chose can't move the cursor, colour or add lines."""

from __future__ import annotations

import json

import pytest

from faas_connector.cli.failures import one_line
from faas_connector.cli.output import note, say, say_json, table, visible

EVIL = "a\x1b[31m\rb\x9bc\nd\u202e"
SHOWN = r"a\x1b[31m\rb\x9bc\nd\u202e"


def test_the_invisible_is_escaped():
    assert visible(EVIL) == SHOWN
    assert visible("\udc80") == r"\udc80"
    assert visible("żółć, 支払い") == "żółć, 支払い"


@pytest.mark.parametrize("print_line", [say, note])
def test_lines_keep_their_breaks_and_tabs_only(print_line, capsys):
    print_line("one\n\ttwo\x1b[2J")
    printed = capsys.readouterr()
    assert printed.out + printed.err == "one\n\ttwo\\x1b[2J\n"


def test_a_cell_is_one_line():
    assert table([("TOPIC", "FUNCTIONS"), (EVIL, "printer")]).splitlines()[1:] == [
        f"{SHOWN}  printer"
    ]


def test_an_error_is_one_line():
    assert one_line("a\n  b\x1b[2J") == r"a b\x1b[2J"


def test_json_says_the_same_to_a_program(capsys):
    say_json({EVIL: "ż"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {EVIL: "ż"}
    assert "\x1b" not in printed
