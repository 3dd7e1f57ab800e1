"""`faas-connector run`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from faas_connector.cli.command import DEBUG, HELP_SETTINGS, State
from faas_connector.cli.connector import Plan, connector_of, deliver
from faas_connector.cli.dry_run import show_calls
from faas_connector.cli.failures import FAILED
from faas_connector.cli.logs import log_run
from faas_connector.cli.options import gateway_flags, gateway_parameters
from faas_connector.cli.running import run, run_until_interrupted
from faas_connector.cli.source_flags import Flagged, flags, given, parameter
from faas_connector.cli.termination import leave_reason, reason_left
from faas_connector.settings.connector import LogFormat, LogLevel, connector_options
from faas_connector.settings.describing import summary
from faas_connector.settings.file import read_file
from faas_connector.settings.loading import Given
from faas_connector.settings.sources import (
    load_source,
    scope_options,
    source_kinds,
    source_options,
)

_log = logging.getLogger("faas_connector.run")
_MOST_USED = frozenset(map(parameter, ("state", "state-wait", "max-in-flight", "admin", "mode")))

HELP = """Read sources, and call every function that asked for an event's topic.

Names one source with its flags, or with -f a file that names any number.
Flags win over variables of the environment, and these over the file; a flag
--state-wait is $FAAS_CONNECTOR_STATE_WAIT. run SOURCE --help shows all flags.

SIGTERM or Ctrl-C drains, a second one aborts. Exit status: 0 when all that was
read is settled, 1 when not or when something failed, 2 on wrong settings or a
missing extra.

\b
Example:
  faas-connector run timer --topic orders.new --interval 5s
  faas-connector run -f connector.yaml
"""


class _SourceCommand(Flagged):
    """`run SOURCE`."""

    def __init__(self, kind: str) -> None:
        source = load_source(kind)
        self.kind = kind
        self.options = (*source_options(kind, source), *scope_options())
        super().__init__(
            kind,
            callback=click.pass_context(self._start),
            params=[*flags(self.options, f"Options of {kind}"), *_run_flags()],
            help=summary(source),
            context_settings=HELP_SETTINGS,
        )

    def _start(self, context: click.Context, /, **params: Any) -> None:
        # What stands before the source's name holds as well.
        before = context.parent.params if context.parent else {}
        own = {name: value for name, value in params.items() if _is_given(context, name)}
        _start(context, {**before, **own}, self)


class _RunCommand(Flagged, click.Group):
    """`run`, whose subcommands are the sources that are installed."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """As any command; what is wrong with its own flags is left for an orchestrator."""
        with reason_left():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> object:
        """As any command; why it fails is left for an orchestrator."""
        with reason_left():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(source_kinds())

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature
        cmd_name: str,
    ) -> click.Command | None:
        return _SourceCommand(cmd_name)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write those that are used most."""
        with formatter.section("Sources"):
            formatter.write_text(", ".join(source_kinds()))
        self.write_flags(ctx, formatter, _MOST_USED)


def _run_flags() -> list[click.Parameter]:
    """The flags that every run has."""
    options = connector_options()
    settings = [
        flag
        for section in dict.fromkeys(option.path[0] for option in options)
        for flag in flags([each for each in options if each.path[0] == section], section)
    ]
    return [
        click.Option(["-f", "--file"], metavar="FILE", help="Settings in YAML."),
        click.Option(["--name"], metavar="NAME", help="The source's name.  [its kind]"),
        click.Option(
            ["--dry-run"],
            is_flag=True,
            help="Show what would be called; call and acknowledge nothing.",
        ),
        DEBUG,
        *gateway_parameters(),
        *settings,
    ]


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _start(
    context: click.Context, params: Mapping[str, Any], source: _SourceCommand | None
) -> None:
    is_debug = context.ensure_object(State).debug
    log_run(LogFormat.TEXT, LogLevel.INFO)  # until the settings say more
    plan = _plan(params, source)
    log = plan.loaded.settings.log
    log_run(log.format, LogLevel.DEBUG if is_debug else log.level)
    for warning in plan.loaded.warnings:
        _log.warning("%s", warning)
    if params["dry_run"]:
        run_until_interrupted(show_calls(plan))
    elif not run(deliver(plan)):
        leave_reason("the run ended before all that it had read was settled", os.environ)
        context.exit(FAILED)


def _plan(params: Mapping[str, Any], source: _SourceCommand | None) -> Plan:
    found = Given(
        file=read_file(params["file"], os.environ) if params["file"] else None,
        kind=source.kind if source else None,
        name=params["name"],
        flags=given(connector_options(), params),
        source_flags=given(source.options, params) if source else {},
        environ=os.environ,
    )
    return connector_of(gateway_flags(params), found)


@click.command("run", cls=_RunCommand, help=HELP, params=_run_flags(), invoke_without_command=True,
               context_settings=HELP_SETTINGS)  # fmt: skip
@click.pass_context
def command(ctx: click.Context, /, **params: Any) -> None:
    """Read sources, and call functions."""
    if ctx.invoked_subcommand is None:
        if not params["file"]:
            raise click.UsageError(
                "name a source or a file of settings, for example: faas-connector run -f "
                f"connector.yaml; sources: {', '.join(source_kinds())}", ctx
            )  # fmt: skip
        _start(ctx, params, None)
