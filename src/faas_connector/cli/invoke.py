"""`faas-connector invoke`."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import click

from faas_connector.cli.command import Command
from faas_connector.cli.connection import GatewayFlags, impatient
from faas_connector.cli.failures import CommandError
from faas_connector.cli.lint import count
from faas_connector.cli.options import FILE, connect, gateway_options, settings_of
from faas_connector.cli.output import note, say_json
from faas_connector.cli.reasons import no_function_wants
from faas_connector.cli.running import run
from faas_connector.cli.survey import topic_map
from faas_connector.config import ControllerConfig
from faas_connector.durations import format_duration
from faas_connector.event import Event
from faas_connector.gateway.client import GatewayClient
from faas_connector.headers import is_token
from faas_connector.invoker import Invoker
from faas_connector.names import Invocation
from faas_connector.planning import CallOptions, event_of
from faas_connector.response import InvokerResponse
from faas_connector.subscriptions import Subscriptions
from faas_connector.topic_map import TopicMap

HELP = """Send one event to every function that asked for TOPIC.

DATA is the body: text, @FILE, or - for standard input; without it the body is
empty. The answers' bodies go to stdout, unchanged when there is one function,
and a status line for each function goes to stderr.

Exit status: 1 when no function wants the topic, or one fails.

\b
Example:
  faas-connector invoke payment.received hello
  faas-connector invoke payment.received @event.json -H X-Source=shop --json
  faas-connector invoke payment.received hello -f connector.yaml
"""


def _headers(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in values:
        name, value = split_header(text)
        if name.lower() in map(str.lower, headers):
            raise click.BadParameter(f"{name!r} is given twice")
        headers[name] = value
    return headers


def split_header(text: str) -> tuple[str, str]:
    """Name and value of `K=V` or `K: V`.

    Raises:
        click.BadParameter: it is neither.
    """
    # A name holds neither mark, so the first one ends it.
    end = min((at for mark in "=:" if (at := text.find(mark)) >= 0), default=-1)
    name, value = text[: max(end, 0)].strip(), text[end + 1 :].strip()
    if not is_token(name):
        raise click.BadParameter(
            f"{text!r} is no header; write 'X-Source=shop' or 'X-Source: shop'"
        )
    return name, value


@click.command("invoke", cls=Command, help=HELP)
@click.argument("topic")
@click.argument("data", required=False, default="")
@click.option(
    "-H", "--header", "headers", multiple=True, callback=_headers, metavar="K=V",
    help="Add a header; 'K: V' works, too. Repeatable.",
)  # fmt: skip
@click.option("--async", "as_async", is_flag=True, help="Take the gateway's asynchronous route.")
@click.option("--callback-url", metavar="URL", help="Where its queue posts the result to.")
@click.option("--content-type", metavar="TYPE", help="Content-Type of the body.  [text/plain]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of all responses.")
@FILE
@gateway_options
def command(
    flags: GatewayFlags,
    *,
    topic: str,
    data: str,
    headers: dict[str, str],
    as_async: bool,
    callback_url: str | None,
    content_type: str | None,
    as_json: bool,
    file: str | None,
) -> None:
    """Send one event to every function that asked for TOPIC."""
    if data == "-" and flags.password_stdin:
        raise click.UsageError("standard input can't be both DATA and the password")
    if callback_url is not None and not as_async:
        raise click.UsageError("--callback-url needs --async")
    config = impatient(connect(flags, settings_of(file)).config)
    event = event_of(topic, read_data(data), headers, content_type)
    options = CallOptions(Invocation.ASYNC if as_async else None, callback_url)
    responses, known = run(_invoke(config, event, options))
    if as_json:
        found = [as_object(response) for response in responses]
        say_json(found)
    else:
        _show(responses)
    if not responses:
        raise CommandError(no_function_wants(topic, known, config.gateway_url))
    if complaint := complain(responses):
        raise CommandError(complaint)


def read_data(argument: str) -> bytes:
    """The bytes that DATA means: those of a file, of standard input, or its own."""
    if argument == "-":
        return sys.stdin.buffer.read()
    if not argument.startswith("@"):
        return os.fsencode(argument)
    try:
        return Path(argument[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(
            f"can't read {argument[1:]!r} ({error.strerror}); @ is followed by a file's name",
            param_hint="DATA",
        ) from error


async def _invoke(
    config: ControllerConfig, event: Event, options: CallOptions
) -> tuple[list[InvokerResponse], TopicMap]:
    async with GatewayClient(config) as client:
        builder = await topic_map(client, config)
        names = [function.name for function in builder.map.match(event.topic)]
        invoker = Invoker(client, config, Subscriptions(config.limits), builder)
        return await invoker.call_each(names, event, options), builder.map


def as_object(response: InvokerResponse) -> dict[str, object]:
    """A response as `--json` prints it; the body is text, or base64 where it is no UTF-8."""
    try:
        body, encoding = response.body.decode(), "utf-8"
    except UnicodeDecodeError:
        body, encoding = base64.b64encode(response.body).decode("ascii"), "base64"
    return {
        "topic": response.topic,
        "function": str(response.function),
        "status": response.status,
        "duration": round(response.duration, 6),
        "headers": {name: ", ".join(response.headers.get_all(name)) for name in response.headers},
        "body": body,
        "body_encoding": encoding,
        "error": None if response.error is None else str(response.error),
        "call_id": response.call_id,
    }


def _show(responses: Sequence[InvokerResponse]) -> None:
    for response in responses:
        note(status_line(response))
        body = response.body
        shared = len(responses) > 1 or sys.stdout.isatty()
        click.echo(body, nl=shared and bool(body) and not body.endswith(b"\n"))


def status_line(response: InvokerResponse) -> str:
    """One line on what became of a call."""
    took = f"{format_duration(response.duration)}, {len(response.body)} B"
    if response.status is None:
        return f"---  {response.function}  no answer: {response.error}"
    if response.status == HTTPStatus.ACCEPTED:
        took = f"{format_duration(response.duration)}, call id {response.call_id}"
    return f"{response.status}  {response.function}  {took}"


def complain(responses: Sequence[InvokerResponse]) -> str | None:
    """What to do about the functions that failed; None where none did."""
    failed = [response for response in responses if not response.ok]
    if not failed:
        return None
    first = failed[0]
    name, namespace = first.function
    did = "gave no answer" if first.status is None else f"answered {first.status}"
    log = f"faas-cli logs {name}" + (f" -n {namespace}" if namespace else "")
    return (
        f"{len(failed)} of {count(len(responses), 'function')} failed; "
        f"{first.function} {did}: see its log with {log}"
    )
