"""The group of all commands: finds them, runs them, and turns errors into exit statuses."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from faas_connector._version import __version__
from faas_connector.cli import failures
from faas_connector.cli.command import DEBUG, HELP_SETTINGS, State
from faas_connector.cli.interrupts import INTERRUPTED


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is imported only when it is called."""

    module: str
    summary: str
    runs_until_interrupted: bool = False


COMMANDS = {
    "run": Entry("run", "Run sources, and call the functions that want their events.", True),
    "dev": Entry("dev", "Try it: a local gateway, a function and a timer.", True),
    "gateway": Entry("gateway", "Run the local gateway alone.", True),
    "tester": Entry("tester", "Send a test event on an interval.", True),
    "invoke": Entry("invoke", "Send one event to every function that wants it."),
    "topics": Entry("topics", "List the topics that functions ask for."),
    "check": Entry("check", "Check the gateway, a connector.yaml, or a stack.yaml offline."),
    "explain": Entry("explain", "Say which functions an event would reach, and why."),
    "dead-letters": Entry("dead_letters", "List, show, replay, remove or export dead letters."),
    "sources": Entry("sources", "List the sources, and how to install what they need."),
    "schema": Entry("schema", "Print the JSON schema of connector.yaml, for editors."),
    "new": Entry("new", "Write a small connector project to start from."),
}


class _NobodyReadsError(Exception):
    """Whoever read our output has gone, as `head` does."""


class LazyGroup(click.Group):
    """Knows the commands by name and summary, without importing them."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # which click would make a failure of
            raise _NobodyReadsError from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        ctx.ensure_object(State).until_interrupted = entry.runs_until_interrupted
        module = importlib.import_module(f"faas_connector.cli.{entry.module}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(COMMANDS)}"
            raise click.UsageError(f"There is no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


HELP = """Deliver events to every OpenFaaS function that asked for their topic.

\b
Try it without a cluster:
  faas-connector dev
and in a second terminal:
  export OPENFAAS_URL=http://127.0.0.1:8080
  faas-connector invoke payment.received hello
"""


@click.group(
    cls=LazyGroup,
    help=HELP,
    context_settings=HELP_SETTINGS,
    params=[DEBUG],
    invoke_without_command=True,
)
@click.version_option(__version__, "-V", "--version", message="faas-connector %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """All commands."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(failures.WRONG_USE)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None means those of this process.

    Returns:
        The exit status: 0, 1 when something failed or nothing matched, 2 on wrong use, 130
        when interrupted.
    """
    state = State()
    try:
        status = app.main(arguments, prog_name="faas-connector", obj=state, standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return 0 if state.until_interrupted else INTERRUPTED
    except Exception as error:
        if all(
            isinstance(each, BrokenPipeError | _NobodyReadsError) for each in failures.leaves(error)
        ):
            _let_go_of_stdout()
            return 0
        if state.debug:
            traceback.print_exc()
        return _report(error)
    return status if isinstance(status, int) else 0


def _report(error: Exception) -> int:
    status = failures.FAILED
    with contextlib.suppress(OSError):
        for each in failures.leaves(error):
            text, status = failures.describe(each)
            click.echo(f"Error: {text}", err=True)
    return status


def _let_go_of_stdout() -> None:
    """Nobody reads any more: keep the interpreter from flushing into the closed pipe at exit."""
    with contextlib.suppress(OSError), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
