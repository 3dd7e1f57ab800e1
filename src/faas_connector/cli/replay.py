"""`faas-connector dead-letters replay`."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import click

from faas_connector.cli.command import Command
from faas_connector.cli.connection import GatewayFlags, impatient
from faas_connector.cli.failures import CommandError
from faas_connector.cli.interrupts import INTERRUPTED
from faas_connector.cli.letters_options import Selection, opened, selection_options
from faas_connector.cli.options import GATEWAY_OPTIONS, NAMESPACES, connect, gateway_flags
from faas_connector.cli.output import note, say, visible
from faas_connector.cli.running import run
from faas_connector.config import ControllerConfig
from faas_connector.controller import Controller
from faas_connector.dead_letters import Fate, Progress, Replayed, UnreadableLine, replay_file

HELP = """Send dead letters to their functions again, with their own call ids.

Each is called once. What its function takes is removed, what fails again stays.
Ctrl-C waits for the calls in flight; a second one doesn't. Either way, replay
again to go on: what has succeeded is not repeated.

Exit status: 1 when some failed again or could not be sent, 130 when interrupted.

\b
Example:
  faas-connector dead-letters replay --function mail --since 2h --rate 50
  faas-connector dead-letters replay -f connector.yaml
"""
_DRAWN_EVERY = 0.1  # s
_SAID = {Fate.FAILED: "failed", Fate.LEFT: "not sent"}


def _selected_gateway(callback: click.decorators.FC) -> click.decorators.FC:
    for option in reversed([each for each in GATEWAY_OPTIONS if each is not NAMESPACES]):
        callback = option(callback)
    return callback


@click.command("replay", cls=Command, help=HELP)
@selection_options
@click.argument("numbers", metavar="[ID]...", type=int, nargs=-1)
@click.option("--rate", metavar="N", type=float, help="At most so many a second.")
@click.option("--from", "exported", metavar="FILE", help="Those that `export` wrote to a file.")
@click.option("--dry-run", is_flag=True, help="Show what would be called, and call nothing.")
@_selected_gateway
def command(
    selection: Selection,
    /,
    *,
    numbers: tuple[int, ...],
    rate: float | None,
    exported: str | None,
    dry_run: bool,
    **gateway: object,
) -> None:
    """Send dead letters to their functions again."""
    if rate is not None and not rate > 0:
        raise click.BadParameter(f"{rate:g} is not above 0; for example 50", param_hint="--rate")
    if exported is not None and (numbers or selection.names_folder):
        raise click.UsageError("--from goes without IDs and without --state")
    selection = selection.of(numbers)
    if dry_run:
        if exported is not None:
            raise click.UsageError("--dry-run goes without --from")
        run(_show(selection))
        return
    flags: GatewayFlags = gateway_flags(gateway)
    config = impatient(connect(flags, selection.settings).config)
    done = run(_replay(config, selection, rate, exported))
    say(f"{done.replayed} sent, {done.failed} failed again, {done.left} not sent")
    if done.stopped:
        note("interrupted: replay again to go on; what was sent is not repeated")
        click.get_current_context().exit(INTERRUPTED)
    if there := done.failed + done.left:
        raise CommandError(
            f"{there} are still there; faas-connector dead-letters list shows why"
            if exported is None
            else f"{there} of {exported!r} are still to be sent; the lines above say why: "
            "mend that, and give the same command again"
        )


async def _show(selection: Selection) -> None:
    async with opened(selection.settings) as letters:
        async for entry in letters.list(selection.query):
            topic = "-" if entry.event is None else entry.event.topic
            whom = entry.function or f"every function that asks for {topic}"
            say(f"would call {whom}  #{entry.id}  {visible(topic)}")


async def _replay(
    config: ControllerConfig, selection: Selection, rate: float | None, file: str | None
) -> Replayed:
    with _stopping() as stopping:
        if file is None:
            async with opened(selection.settings) as letters:
                total = await letters.count(selection.query)
                shown = _Shown(total)
                async with Controller(config) as controller:
                    done = await letters.replay(
                        controller, selection.query,
                        rate=rate, on_progress=shown, stopping=stopping,
                    )  # fmt: skip
        else:
            shown = _Shown(None)
            async with Controller(config) as controller:
                try:
                    done = await replay_file(
                        controller, file, selection.query, rate=rate, on_progress=shown,
                        on_unreadable=shown.unreadable, stopping=stopping,
                    )  # fmt: skip
                except OSError as error:
                    raise CommandError(
                        f"can't read {file!r} ({error.strerror}); name what export wrote"
                    ) from error
        shown.end()
    return done if not shown.damaged else _with_left(done, shown.damaged)


def _with_left(done: Replayed, more: int) -> Replayed:
    return Replayed(done.replayed, done.failed, done.left + more, done.stopped)


@contextmanager
def _stopping() -> Generator[asyncio.Event]:
    """Set by the first Ctrl-C or SIGTERM; a second Ctrl-C cancels."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    task = asyncio.current_task()

    def stop() -> None:
        if stopping.is_set() and task is not None:
            task.cancel()
            return
        note("stopping: waiting for the calls in flight; Ctrl-C again gives them up")
        stopping.set()

    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield stopping
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
        note("given up: what was in flight may be called again; replay again to go on")
        raise KeyboardInterrupt from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Shown:
    """Shows how far it is, on a terminal; what fails is a line in any case."""

    def __init__(self, total: int | None) -> None:
        self.damaged = 0
        self._of = "" if total is None else f" of {total}"
        self._on_terminal = sys.stderr.isatty()
        self._drawn = 0.0

    def __call__(self, progress: Progress) -> None:
        entry = progress.entry
        if said := _SAID.get(progress.fate):
            whom = f"{entry.function}  " if entry.function else ""
            self._line(f"{said}  #{entry.id}  {whom}{progress.what}")
        if self._on_terminal and time.monotonic() - self._drawn >= _DRAWN_EVERY:
            self._drawn = time.monotonic()
            done = progress.replayed + progress.failed + progress.left
            click.echo(f"\r\x1b[K{done}{self._of}, {progress.failed} failed", nl=False, err=True)

    def unreadable(self, line: UnreadableLine) -> None:
        self.damaged += 1
        self._line(f"not sent  line {line.number}: {line.why}")

    def end(self) -> None:
        if self._on_terminal and self._drawn:
            click.echo("\r\x1b[K", nl=False, err=True)

    def _line(self, text: str) -> None:
        if self._on_terminal and self._drawn:
            click.echo("\r\x1b[K", nl=False, err=True)
        note(text)
