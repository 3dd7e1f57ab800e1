"""Lines about events and responses, printed as they happen."""

from __future__ import annotations

import asyncio
from datetime import datetime

from faas_connector.cli.lint import count
from faas_connector.cli.output import say
from faas_connector.durations import format_duration
from faas_connector.event import Event
from faas_connector.local.calls import FinishedCall
from faas_connector.names import FunctionName
from faas_connector.response import InvokerResponse

_LONGEST_BODY = 100
_MOST_LINES = 10_000


class Feed:
    """Takes lines from anywhere on the loop, and prints them from one task.

    A terminal that is gone is then an error of that task, not of whoever had something to say.
    Of lines that come faster than they are printed the oldest are dropped, which is said.
    """

    def __init__(self, most_lines: int = _MOST_LINES) -> None:
        self._lines: asyncio.Queue[str] = asyncio.Queue(most_lines)
        self._dropped = 0

    def event(self, event: Event) -> None:
        """An event that is about to be sent."""
        self.line(f"event     {event.topic}  {len(event.data)} B  {excerpt(event.data)}")

    async def response(self, response: InvokerResponse) -> None:
        """A response; a coroutine function, so that it may subscribe."""
        self.line(f"response  {response_text(response)}  {excerpt(response.body)}")

    async def no_answer(self, response: InvokerResponse) -> None:
        """A response, if it is none: of all others the local gateway tells with `call`."""
        if response.error is not None:
            await self.response(response)

    def call(self, call: FinishedCall) -> None:
        """A call that the local gateway has passed on."""
        outcome = f"{call.sent_bytes} B"
        text = call_text(call.topic, str(call.function), call.status, call.duration, outcome)
        self.line(f"response  {text}")

    def log(self, function: FunctionName, line: str) -> None:
        """A line that a function logged."""
        self.line(f"log       {function}  {line}")

    def line(self, text: str) -> None:
        """Any line; the time of day is put in front."""
        now = datetime.now().astimezone()
        if self._lines.full():
            self._lines.get_nowait()
            self._dropped += 1
        self._lines.put_nowait(f"{now:%H:%M:%S}.{now.microsecond // 1000:03}  {text}".rstrip())

    async def show(self) -> None:
        """Print, for ever.

        Raises:
            OSError: the line can't be printed.
        """
        while True:
            line = await self._lines.get()
            if self._dropped:
                say(f"{count(self._dropped, 'line')} dropped: more came than could be printed")
                self._dropped = 0
            say(line)


def response_text(response: InvokerResponse) -> str:
    """Topic, function, status, duration and bytes."""
    return call_text(
        response.topic,
        str(response.function),
        response.status,
        response.duration,
        f"{len(response.body)} B" if response.error is None else str(response.error),
    )


def call_text(topic: str, function: str, status: int | None, duration: float, outcome: str) -> str:
    """What became of one call, in columns."""
    shown = "---" if status is None else str(status)
    return f"{topic or '(no topic)'} -> {function}  {shown}  {format_duration(duration)}  {outcome}"


def excerpt(body: bytes) -> str:
    """The beginning of a body, on one line."""
    text = " ".join(body[: 4 * _LONGEST_BODY].decode("utf-8", "replace").split())
    printable = "".join(character if character.isprintable() else "?" for character in text)
    if len(printable) > _LONGEST_BODY:
        return f"{printable[:_LONGEST_BODY]}…"
    return printable
