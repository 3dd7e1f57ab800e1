"""Which runner a function of a stack file gets."""

from __future__ import annotations

import difflib
from pathlib import Path

from faas_connector.errors import ConfigError
from faas_connector.local.command_function import CommandFunction, CommandRunner
from faas_connector.local.environment import SecretValue
from faas_connector.local.function import Log, Runner, Unsupported
from faas_connector.local.python_function import KINDS, PythonFunction, PythonRunner
from faas_connector.local.stack import StackFunction
from faas_connector.local.url_function import URL_ANNOTATION, UrlRunner


def runner_for(
    definition: StackFunction, *, folder: Path, secret: SecretValue, log: Log
) -> Runner | Unsupported:
    """What runs the function: its URL, else its command, else its Python handler.

    Args:
        definition: the function.
        folder: of the stack file; a command without a folder of its own runs there.
        secret: gives the value of a secret by name.
        log: takes the function's log lines.
    """
    try:
        return _choose(definition, folder, secret, log)
    except ConfigError as error:
        return Unsupported(f"{definition.name} can't run: {error}")


def _choose(
    definition: StackFunction, folder: Path, secret: SecretValue, log: Log
) -> Runner | Unsupported:
    name, handler, lang = definition.name, definition.handler, definition.lang.lower()
    if url := definition.annotations.get(URL_ANNOTATION):
        return UrlRunner(name, url.strip(), log=log)
    if definition.fprocess:
        command = CommandFunction(
            name=name,
            command=definition.fprocess,
            folder=handler if handler and handler.is_dir() else folder.absolute(),
            environment=definition.environment,
            secrets=definition.secrets,
        )
        return CommandRunner(command, secret=secret, log=log)
    if lang not in KINDS:
        return Unsupported(_unsupported(definition))
    if handler is None:
        return Unsupported(
            f"{name} has no handler; name its folder, for example: handler: ./{name}"
        )
    function = PythonFunction(
        name=name,
        kind=KINDS[lang],
        folder=handler,
        environment=definition.environment,
        secrets=definition.secrets,
    )
    return PythonRunner(function, secret=secret, log=log)


def _unsupported(definition: StackFunction) -> str:
    lang = definition.lang
    near = difflib.get_close_matches(lang, KINDS, 1, 0.8)
    if near:
        advice = f"did you mean {near[0]!r}?"
    else:
        advice = (
            f"start it yourself and annotate {URL_ANNOTATION}: http://127.0.0.1:5000, or give it "
            f"an fprocess; {', '.join(KINDS)} run here"
        )
    what = f"the language {lang!r} can't run here" if lang else "it has no language and no fprocess"
    return f"{definition.name}: {what}; {advice}"
