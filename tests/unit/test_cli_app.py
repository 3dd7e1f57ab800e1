"""The group of commands: help, versions, wrong use, and errors as exit statuses."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest

from faas_connector._version import __version__
from faas_connector.cli import failures
from faas_connector.cli.app import COMMANDS, run
from faas_connector.errors import (
    ConfigError,
    ConnectorError,
    GatewayAuthError,
    GatewayUnavailableError,
    MissingExtraError,
)

WITH_A_FILE = (
    "explain x", "topics", "invoke x", "tester", "dead-letters list", "dead-letters show 1",
    "dead-letters replay", "dead-letters replay --from a.jsonl", "dead-letters remove --yes",
    "dead-letters export",
)  # fmt: skip


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_fits_a_screen_and_shows_an_example(name, capsys):
    assert run([*([name] if name else []), "--help"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80
    assert f"\n    faas-connector {name or 'dev'}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_takes_debug_in_any_place(name):
    command = importlib.import_module(f"faas_connector.cli.{COMMANDS[name].module}").command
    assert command.name == name
    assert "--debug" in {option for each in command.params for option in each.opts}


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"faas-connector {__version__}\n"


def test_without_arguments_the_help_is_shown(capsys):
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["invok"], ["no command 'invok'; did you mean 'invoke'?", "faas-connector --help"]),
        (["zzzzzz"], ["no command 'zzzzzz'; known: run, dev, gateway"]),
        (["topics", "--jsn"], ["--jsn", "faas-connector topics --help"]),
        (["invoke"], ["TOPIC", "faas-connector invoke --help"]),
        (["invoke", "t", "-", "-s"], ["standard input can't be both"]),
        (["invoke", "t", "-H", "x"], ["'x' is no header"]),
        (["invoke", "t", "-H", "x=1", "-H", "X: 2"], ["'X' is given twice"]),
        (["invoke", "t", "--callback-url", "http://a"], ["--callback-url needs --async"]),
        (["topics", "-g", "gateway:8080"], ["--gateway", "http://127.0.0.1:8080"]),
        (["topics", "-u", "eve"], ["--username needs a password"]),
        (["topics", "--matcher", "regex"], ["regex", "glob"]),
    ],
)
def test_wrong_use_is_one_line_and_2(arguments, parts, capsys):
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    for part in parts:
        assert part in captured.err


def describe(error: Exception) -> tuple[str, int]:
    return failures.describe(error)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "version: 1\nstat: {folder: a}\nsources: [timer: {}]\n",
        "version: 1\n- a\n",
        "version: 2\nsources: [timer: {}]\n",
    ],
)
def test_a_file_that_is_missing_or_wrong_is_told_as_run_tells_it(content, tmp_path, capsys):
    file = tmp_path / "connector.yaml"
    if content is not None:
        file.write_text(content)
    told = [line_and_status(command, file, capsys) for command in ("run", *WITH_A_FILE)]
    assert told[0][1] == 2
    assert told[0][0].startswith(f"Error: {file}")
    assert told == [told[0]] * len(told)


def line_and_status(command, file, capsys):
    status = run([*command.split(), "-f", str(file)])
    return capsys.readouterr().err, status


def test_errors_and_their_status():
    assert describe(ConfigError("a\nb")) == ("a b", 2)
    assert describe(MissingExtraError("install a")) == ("install a", 2)
    assert describe(ConnectorError("a")) == ("a", 1)
    assert describe(GatewayUnavailableError("gone")) == ("gone", 1)
    assert describe(click.FileError("f", "why"))[1] == 1
    text, status = describe(KeyError("oops"))
    assert (status, text.startswith("KeyError: 'oops'")) == (1, True)
    assert "--debug" in text


def test_a_401_is_a_short_line_that_says_where_to_look_for_the_password(capsys):
    url = "http://127.0.0.1:8080/system/functions"
    error = GatewayAuthError(f"{url} asks for credentials (401); set auth", status=401)
    text, status = describe(error)
    assert status == 1
    assert text == (
        f"{url} asks for credentials (401); give the password with --password-file FILE or -s; "
        "faas-connector check --help says where it is"
    )
    assert run(["check", "--help"]) == 0
    help_text = capsys.readouterr().out
    for way in (
        "kubectl get secret -n openfaas basic-auth \\\n",
        "-o jsonpath='{.data.basic-auth-password}' | base64 --decode",
        "sudo cat /var/lib/faasd/secrets/basic-auth-password",
        "faas-cli login -g URL -s",
    ):
        assert way in help_text


@pytest.mark.parametrize("status", [None, 403])
def test_another_password_is_advised_where_the_gateway_wants_one_only(status):
    error = GatewayAuthError("http://g forbids this; check auth", status=status)
    assert describe(error) == ("http://g forbids this; check auth", 1)


def test_errors_in_groups_are_told_one_by_one():
    group = ExceptionGroup("g", [ConfigError("a"), ExceptionGroup("h", [ConnectorError("b")])])
    assert [str(error) for error in failures.leaves(group)] == ["a", "b"]


@pytest.fixture
def failing_command(monkeypatch):
    def install(error: BaseException) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr("faas_connector.cli.topics.run", fail)
        monkeypatch.setattr("faas_connector.cli.topics._look", lambda _: None)

    return install


def test_tracebacks_only_with_debug(failing_command, capsys):
    failing_command(RuntimeError("oops"))
    assert run(["topics"]) == 1
    assert capsys.readouterr().err.startswith("Error: RuntimeError: oops")
    for arguments in (["--debug", "topics"], ["topics", "--debug"]):
        assert run(arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("Traceback")
        assert error.splitlines()[-1].startswith("Error: RuntimeError: oops")


def test_an_interrupt_is_130_and_says_nothing(failing_command, capsys):
    failing_command(KeyboardInterrupt())
    assert run(["topics"]) == 130
    assert capsys.readouterr() == ("", "\n")  # a new line after the terminal's ^C


def test_help_imports_neither_asyncio_nor_a_command():
    code = (
        "import sys; from faas_connector.cli.app import run; run(['--help']); "
        "print([name for name in sys.modules if name.startswith('faas_connector.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.splitlines()[-1]
    assert "cli.app" in loaded
    assert not any(f"cli.{entry.module}'" in loaded for entry in COMMANDS.values())
