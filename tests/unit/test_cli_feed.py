"""The lines that `dev`, `gateway` and `tester` print."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest

from faas_connector.cli.feed import Feed, excerpt


async def shown(feed: Feed, capsys, *, until: str) -> list[str]:
    """What it prints, without the times of day."""
    lines: list[str] = []
    async with asyncio.timeout(60):
        task = asyncio.create_task(feed.show())
        while not lines or not lines[-1].endswith(until):
            await asyncio.sleep(0)
            lines += capsys.readouterr().out.splitlines()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return [re.sub(r"^[\d:.]{12}  ", "", line) for line in lines]


async def test_lines_come_in_order(capsys):
    feed = Feed()
    for text in ("one", "two", "three"):
        feed.line(text)
    assert await shown(feed, capsys, until="three") == ["one", "two", "three"]


async def test_of_more_lines_than_it_holds_the_oldest_are_dropped_and_that_is_said(capsys):
    feed = Feed(most_lines=3)
    for number in range(100):
        feed.line(str(number))
    dropped = "97 lines dropped: more came than could be printed"
    assert await shown(feed, capsys, until="99") == [dropped, "97", "98", "99"]
    for number in range(4):
        feed.line(str(number))
    dropped = "1 line dropped: more came than could be printed"
    assert await shown(feed, capsys, until="3") == [dropped, "1", "2", "3"]
    feed.line("last")
    assert await shown(feed, capsys, until="last") == ["last"]


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"", ""), (b"a\n  b\x1b", "a b?"), (b"\xff", "\N{REPLACEMENT CHARACTER}"),
     (b"x" * 101, "x" * 100 + "…")],
)  # fmt: skip
def test_an_excerpt_is_one_short_line(body, text):
    assert excerpt(body) == text
