"""`faas-connector gateway`."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence

import click

from faas_connector.auth import SecretFile
from faas_connector.cli.command import Command
from faas_connector.cli.feed import Feed
from faas_connector.cli.local import open_stack
from faas_connector.cli.options import duration
from faas_connector.cli.output import say
from faas_connector.cli.running import run_until_interrupted
from faas_connector.contract import read_contract
from faas_connector.local.gateway import LocalGateway

HELP = """Run the local gateway alone.

It speaks OpenFaaS' HTTP contract, so that faas-cli and any other client can
work with it, and runs the functions of a stack.yaml: Python handlers and
commands, without containers. Each call is a line. Not for production.
Ctrl-C ends it.

\b
Example:
  faas-connector gateway --stack stack.yaml
  faas-connector gateway --fault function/printer:status=503,times=2
"""


@click.command("gateway", cls=Command, log_level=logging.WARNING, help=HELP)
@click.option(
    "--host", default="127.0.0.1", metavar="ADDRESS",
    help="Where to listen; others than loopback need basic auth.  [127.0.0.1]",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, metavar="PORT",
    help="0 takes a free one.  [8080]",
)  # fmt: skip
@click.option("--stack", metavar="FILE", help="Run the functions of a stack.yaml.")
@click.option("--basic-auth-user", metavar="NAME", help="Ask for this user.  [admin]")
@click.option("--basic-auth-password-file", metavar="FILE", help="And for this password.")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME",
              help="A namespace besides openfaas-fn. Repeatable.")  # fmt: skip
@click.option("--fault", "faults", multiple=True, metavar="FAULT",
              help="What is to go wrong. Repeatable.")  # fmt: skip
@click.option("--metrics-port", type=click.IntRange(0, 65535), metavar="PORT",
              help="Serve /metrics there.  [off]")  # fmt: skip
@click.option("--allow-deploy", is_flag=True, help="Let faas-cli deploy and remove functions.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name this gateway goes by. Repeatable.",
)
@click.option(
    "--allow-origin",
    "allowed_origins",
    multiple=True,
    metavar="URL",
    help="Let web pages from there call it. Repeatable.",
)
@click.option("--edition", type=click.Choice(["ce"]), help="Keep the limits of that edition.")
@click.option("--scale-from-zero", is_flag=True, help="A call wakes a function at zero.")
@click.option("--scale-to-zero-after", callback=duration, metavar="TIME",
              help="Put functions to sleep after so long without a call.  [never]")  # fmt: skip
@click.option("--start-delay", callback=duration, metavar="TIME",
              help="How long a function takes to wake.  [0]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=1, metavar="N",
              help="Asynchronous calls made at a time.  [1]")  # fmt: skip
@click.option("--ack-wait", default="30s", callback=duration, metavar="TIME",
              help="After which one that has not ended is made again.  [30s]")  # fmt: skip
def command(
    *,
    host: str,
    port: int,
    stack: str | None,
    basic_auth_user: str | None,
    basic_auth_password_file: str | None,
    namespaces: Sequence[str],
    faults: Sequence[str],
    metrics_port: int | None,
    allow_deploy: bool,
    allowed_hosts: Sequence[str],
    allowed_origins: Sequence[str],
    edition: str | None,
    scale_from_zero: bool,
    scale_to_zero_after: float | None,
    start_delay: float | None,
    workers: int,
    ack_wait: float | None,
) -> None:
    """Run the local gateway alone."""
    feed = Feed()
    make = functools.partial(
        LocalGateway,
        host,
        port,
        stack=open_stack(stack),
        basic_auth=_basic_auth(basic_auth_user, basic_auth_password_file),
        namespaces=namespaces,
        faults=faults,
        metrics_port=metrics_port,
        allow_deploy=allow_deploy,
        allowed_hosts=allowed_hosts,
        allowed_origins=allowed_origins,
        edition=edition,
        scale_from_zero=scale_from_zero,
        scale_to_zero_after=scale_to_zero_after,
        start_delay=start_delay or 0.0,
        workers=workers,
        ack_wait=ack_wait or 30.0,
        on_call=feed.call,
        on_log=feed.log,
    )
    run_until_interrupted(_serve(make, feed))


def _basic_auth(user: str | None, password_file: str | None) -> tuple[str, str] | None:
    if password_file is None:
        if user is not None:
            raise click.UsageError(
                "--basic-auth-user needs a password; add --basic-auth-password-file FILE"
            )
        return None
    return user or "admin", SecretFile(password_file).get()


async def _serve(make: Callable[[], LocalGateway], feed: Feed) -> None:
    async with make() as gateway:
        say(f"Local OpenFaaS gateway at {gateway.url}, not for production. Ctrl-C ends it.")
        if gateway.metrics_url:
            say(f"Metrics at {gateway.metrics_url}/metrics.")
        for function in gateway.functions:
            topics = read_contract(function.name, function.deployment.annotations).topics
            say(f"function  {function}" + (f"  topic: {', '.join(topics)}" if topics else ""))
        await feed.show()
