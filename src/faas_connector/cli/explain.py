"""`faas-connector explain`."""

from __future__ import annotations

import click

from faas_connector.cli.command import Command
from faas_connector.cli.connection import GatewayFlags, impatient
from faas_connector.cli.failures import CommandError
from faas_connector.cli.lint import count
from faas_connector.cli.options import FILE, connect, gateway_options, settings_of
from faas_connector.cli.output import note, say
from faas_connector.cli.reasons import Verdict, declared, judge, ordered
from faas_connector.cli.running import run
from faas_connector.cli.survey import Survey, survey
from faas_connector.config import ControllerConfig
from faas_connector.durations import format_duration
from faas_connector.gateway.client import GatewayClient
from faas_connector.planning import CallOptions, CallPlan, event_of, plan_call
from faas_connector.terms import terms_of

HELP = """Say which functions an event with TOPIC would reach, and why.

Shows for each function whether it is called and through which pattern, or what
keeps it from being called; and how the call is made: its route, headers, time
limit and mode. Nothing is called.

Exit status: 1 when no function would be called.

\b
Example:
  faas-connector explain payment.received
  faas-connector explain orders/eu/new --matcher mqtt -n 'team-*'
  faas-connector explain payment.received -f connector.yaml
"""


@click.command("explain", cls=Command, help=HELP)
@click.argument("topic")
@FILE
@gateway_options
def command(flags: GatewayFlags, *, file: str | None, topic: str) -> None:
    """Say which functions an event with TOPIC would reach, and why."""
    config = impatient(connect(flags, settings_of(file)).config)
    found, plans = run(_look(config, topic))
    verdicts = ordered(
        judge(function, topic, config.matcher)
        for function in found.functions
        if function.watched or function.contract.topics
    )
    shown = [each for each in verdicts if each.near or each.function.watched]
    for verdict in shown:
        say(_line(verdict))
        if verdict.called:
            say(_plan(plans[str(verdict.function.name)], config, verdict))
    for namespace, error in found.failing.items():
        note(f"Warning: namespace {namespace or '(default)'} could not be looked at: {error}")
    called = sum(each.called for each in verdicts)
    if not called:
        raise CommandError(
            f"an event with topic {topic!r} would reach none of "
            f"{count(len(shown), 'function')} at {config.gateway_url}"
        )


async def _look(config: ControllerConfig, topic: str) -> tuple[Survey, dict[str, CallPlan]]:
    event = event_of(topic, b"", None, None)
    plans: dict[str, CallPlan] = {}
    async with GatewayClient(config) as client:
        found = await survey(client, config)
        for function in found.functions:
            terms = terms_of(function.contract, config)
            target = client.call_target(function.name, terms.mode)
            options = CallOptions(invocation=terms.mode, timeout=terms.timeout)
            plans[str(function.name)] = plan_call(config, target, function.name, event, options)
    return found, plans


def _line(verdict: Verdict) -> str:
    called = "called      " if verdict.called else "not called  "
    return f"{called}{verdict.function.name}: {verdict.reason}"


def _plan(plan: CallPlan, config: ControllerConfig, verdict: Verdict) -> str:
    scheme, _, rest = config.gateway_url.partition("://")
    origin = f"{scheme}://{rest.partition('/')[0]}"
    lines = [
        f"POST {origin}{plan.target}",
        f"mode {plan.invocation.value}, at most {format_duration(plan.timeout)}",
        *(f"{name}: {value}" for name, value in plan.fields),
        "X-Call-Id: a new UUID for each call",
    ]
    if settings := declared(verdict.function.contract):
        lines.append(f"declares: {settings}")
    lines += [f"wrong: {problem}" for problem in verdict.function.contract.problems]
    return "\n".join(f"            {line}" for line in lines)
