"""`faas-connector dead-letters`: list, show, remove and export."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import click

from faas_connector.cli.command import DEBUG, HELP_SETTINGS, Command
from faas_connector.cli.failures import CommandError
from faas_connector.cli.letters import details, rows
from faas_connector.cli.letters_options import (
    NAME_ANOTHER,
    Selection,
    opened,
    path_of,
    selection_options,
    state_options,
)
from faas_connector.cli.lint import count
from faas_connector.cli.output import note, say, table
from faas_connector.cli.replay import command as replay
from faas_connector.cli.running import run
from faas_connector.dead_letters.lines import encode_line
from faas_connector.settings.general import General
from faas_connector.store import Entry

HELP = """Look at dead letters, send them again, remove or export them.

A dead letter is an event that a function failed to take for good. It stays in
the connector's state folder until you replay or remove it. All of this works
while the connector is running.

\b
Example:
  faas-connector dead-letters list -f connector.yaml --since 1h
  faas-connector dead-letters replay -f connector.yaml --function mail
"""
# Lines of a list that a person still reads.
_LISTED = 50


@click.group("dead-letters", help=HELP, context_settings=HELP_SETTINGS, params=[DEBUG])
def command() -> None:
    """Look at dead letters, send them again, remove or export them."""


command.add_command(replay)

LIST_HELP = f"""List dead letters, oldest first.

Without --limit the first {_LISTED} are shown; with --json all, a line of JSON each.

\b
Example:
  faas-connector dead-letters list --function mail --reason attempts
  faas-connector dead-letters list -f connector.yaml
"""


@command.command("list", cls=Command, help=LIST_HELP)
@selection_options
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each.")
def list_command(selection: Selection, *, as_json: bool) -> None:
    """List dead letters, oldest first."""
    run(_print_lines(selection) if as_json else _list(selection))


async def _print_lines(selection: Selection) -> None:
    async with opened(selection.settings) as letters:
        async for entry in letters.list(selection.query):
            click.echo(encode_line(entry))


async def _list(selection: Selection) -> None:
    async with opened(selection.settings) as letters:
        most = _LISTED if selection.query.limit is None else selection.query.limit
        found: list[Entry] = []
        more = 0
        async for entry in letters.list(selection.query):
            if len(found) < most:
                found.append(entry)
            else:
                more += 1
    if not found:
        what = "no dead letters" if selection.is_all else "no dead letters that fit"
        note(f"{what} in {path_of(selection.settings)} ({NAME_ANOTHER})")
        return
    say(table(rows(found, width=shutil.get_terminal_size((100, 0)).columns)))
    if more:
        note(f"… and {more} more; --limit N shows more of them, --json all")


SHOW_HELP = """Show all that is known of dead letters: the event, and the last answer.

\b
Example:
  faas-connector dead-letters show 17
"""


@command.command("show", cls=Command, help=SHOW_HELP)
@click.argument("numbers", metavar="ID...", type=int, nargs=-1, required=True)
@state_options
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each.")
def show_command(settings: General, /, *, numbers: tuple[int, ...], as_json: bool) -> None:
    """Show all that is known of dead letters."""
    missing = run(_show(numbers, settings, as_json=as_json))
    if missing:
        raise CommandError(
            f"there is no dead letter {', '.join(map(str, missing))}; "
            "faas-connector dead-letters list names those that are there"
        )


async def _show(numbers: tuple[int, ...], settings: General, *, as_json: bool) -> list[int]:
    missing: list[int] = []
    shown = 0
    async with opened(settings) as letters:
        for number in numbers:
            entry = await letters.get(number)
            if entry is None:
                missing.append(number)
            elif as_json:
                click.echo(encode_line(entry))
            else:
                say(("\n" if shown else "") + details(entry))
                shown += 1
    return missing


REMOVE_HELP = """Remove dead letters for good: those with these IDs, or those that fit.

What a replay is at work on stays.

\b
Example:
  faas-connector dead-letters remove --function mail --until 2026-11-01
"""


@command.command("remove", cls=Command, help=REMOVE_HELP)
@selection_options
@click.argument("numbers", metavar="[ID]...", type=int, nargs=-1)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
def remove_command(selection: Selection, *, numbers: tuple[int, ...], yes: bool) -> None:
    """Remove dead letters for good."""
    selection = selection.of(numbers)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on; add --yes to remove them")
    removed = run(_remove(selection, yes=yes))
    say(f"{count(removed, 'dead letter')} removed")


async def _remove(selection: Selection, *, yes: bool) -> int:
    async with opened(selection.settings) as letters:
        if not yes:
            found = await letters.count(selection.query)
            question = f"Remove {count(found, 'dead letter')} for good?"
            if not found or not await asyncio.to_thread(click.confirm, question, err=True):
                return 0
        return await letters.remove(selection.query)


EXPORT_HELP = """Write dead letters to a file, or to standard output, one line of JSON each.

They stay where they are. replay --from FILE sends them again, on another
machine too.

\b
Example:
  faas-connector dead-letters export --output letters.jsonl
"""


@command.command("export", cls=Command, help=EXPORT_HELP)
@selection_options
@click.option("-o", "--output", metavar="FILE", help="A new file, for its owner only.")
def export_command(selection: Selection, *, output: str | None) -> None:
    """Write dead letters to a file, or to standard output."""
    if output is None:
        run(_print_lines(selection))
        return
    path = Path(output)
    try:
        written = run(_export(selection, path))
    except FileExistsError:
        raise CommandError(f"{output!r} exists already, and is left as it is; name a new file") \
            from None  # fmt: skip
    except OSError as error:
        raise CommandError(
            f"can't write {output!r} ({error.strerror}); name another file"
        ) from error
    say(f"{count(written, 'dead letter')} exported to {output}")


async def _export(selection: Selection, path: Path) -> int:
    async with opened(selection.settings) as letters:
        with _new_file(path) as file:
            return await letters.export(selection.query, file)


@contextlib.contextmanager
def _new_file(path: Path) -> Generator[BinaryIO]:
    """A file that has its name once it is whole, and on disk."""
    if path.exists():
        raise FileExistsError(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    finally:
        part.unlink()
