"""What the Markdown files say is true: code runs, links lead somewhere, commands exist."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import os
import re
import shlex
import ssl
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import faas_connector
from faas_connector import Controller, ControllerConfig, InvokerResponse, Limits, Timeouts
from faas_connector.cli.app import COMMANDS, app
from faas_connector.cli.connection import GatewayFlags
from faas_connector.cli.connector import connector_of
from faas_connector.contract import ANNOTATIONS
from faas_connector.settings.connector import connector_options
from faas_connector.settings.file import read_file
from faas_connector.settings.loading import TERMINATION_LOG, Given
from faas_connector.settings.sources import (
    RUN_FLAGS,
    load_source,
    scope_options,
    source_kinds,
    source_options,
)
from faas_connector.testing import LocalFunction, LocalGateway

pytest_plugins = ["faas_connector.testing.plugin"]

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
TOPICS = "payment.received, orders.new"

CONFIGURATION = [
    path
    for path in DOCUMENTS
    if path.name in {"configuration.md", "from-official-connectors.md"}
    or path.parent.name == "sources"
]
FLAG = re.compile(r"(?<![-\w])--[a-z][-a-z]+[a-z](?![-…])")

FENCE = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A block of code in a document."""

    path: Path
    line: int
    note: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def is_program(self) -> bool:
        return self.code.startswith(("import ", "from "))


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            path,
            text.count("\n", 0, found.start("code")) + 1,
            found["note"] or "",
            *found.group("language", "code"),
        )
        for found in FENCE.finditer(text)
    ]


BLOCKS = [block for path in DOCUMENTS for block in blocks_of(path)]
PYTHON = [
    block
    for block in BLOCKS
    if block.language == "python" and not block.note.startswith(("not run: ", "file: "))
]


def blocks(name, which):
    return pytest.mark.parametrize(name, which, ids=str)


# Code


@blocks("block", [block for block in PYTHON if block.is_program])
def test_a_program_calls_the_function_and_ends_cleanly(start, threaded_gateway, tmp_path, block):
    threaded_gateway.add(LocalFunction(name="printer", annotations={"topic": TOPICS}, answer="ok"))
    file = tmp_path / "connector.py"
    file.write_text(block.code)
    letter = tmp_path / "inbox" / "letter"
    letter.parent.mkdir()
    letter.write_text("hello")
    program = start(str(file), stdin="hello\n", XDG_STATE_HOME=str(tmp_path))
    threaded_gateway.wait_received(1, within=60)
    if block.note.startswith("logs, "):
        status = program.interrupt() if block.note == "logs, until interrupted" else program.end()
        assert status == 0
        assert not re.search("WARNING|ERROR|Traceback", program.errors)
        assert letter.exists() == ("INBOX" not in block.code)
        return
    assert "payment.received" in program.line()
    if block.note == "runs until interrupted":
        program.interrupt()
        assert program.errors.rstrip().endswith("KeyboardInterrupt")
    else:
        assert (program.end(), program.errors) == (0, "")


@blocks("block", [block for block in PYTHON if not block.is_program])
async def test_a_fragment_runs_inside_a_controller(local_gateway, monkeypatch, block):
    monkeypatch.delenv("basic_auth", raising=False)
    for name in ("printer", "broken"):
        answer = "ok" if name == "printer" else 500
        local_gateway.add(LocalFunction(name=name, annotations={"topic": TOPICS}, answer=answer))
    config = ControllerConfig(gateway_url=local_gateway.url)
    async with Controller(config) as controller:
        names = {name: getattr(faas_connector, name) for name in faas_connector.__all__}
        names |= {"faas_connector": faas_connector, "controller": controller, "config": config}
        names |= {"asyncio": asyncio, "os": os, "ssl": ssl}
        names |= {"LocalFunction": LocalFunction, "LocalGateway": LocalGateway}
        code = compile(
            "\n" * (block.line - 1) + block.code,
            str(block.path),
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        result = eval(code, names)
        if inspect.iscoroutine(result):
            await result
        if "deliver" in names:
            assert await names["deliver"]("nobody.asks", b"")
            assert not await names["deliver"]("orders.new", b"")
    if "invoke(" in block.code and "LocalGateway" not in block.code:
        assert local_gateway.received


def test_most_blocks_of_python_run():
    left_out = [
        block
        for block in BLOCKS
        if block.language == "python" and block.note.startswith("not run: ")
    ]
    assert len(PYTHON) > 8 * len(left_out) > 0


def test_the_connector_in_the_readme_has_twelve_lines():
    first = next(block for block in PYTHON if block.path == ROOT / "README.md")
    assert len(first.code.splitlines()) <= 12


YAML = [
    block for block in BLOCKS if block.language == "yaml" and not block.note.startswith("not run: ")
]
CONNECTORS = [block for block in YAML if block.code.startswith("version: 1\n")]


@blocks("block", [block for block in YAML if block not in CONNECTORS])
def test_a_stack_is_without_mistakes(tmp_path, block):
    (tmp_path / "stack.yaml").write_text(block.code)
    checked = subprocess.run(
        [sys.executable, "-m", "faas_connector", "check", "--stack", "stack.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@blocks("block", CONNECTORS)
def test_a_file_of_settings_is_without_mistakes(tmp_path, block):
    code = block.code.replace("/var/openfaas/secrets/", f"{tmp_path}/")
    for name in re.findall(rf"{tmp_path}/([-\w]+)", code):
        (tmp_path / name).write_text("hush")
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", code), "value")
    (tmp_path / "connector.yaml").write_text(code)
    file = read_file(tmp_path / "connector.yaml", variables)
    plan = connector_of(GatewayFlags(), Given(file=file, environ=variables))
    assert plan.loaded.sources


# Links


def anchors(path: Path) -> set[str]:
    """Of each heading, as GitHub makes them."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@blocks("path", [path.relative_to(ROOT) for path in DOCUMENTS])
def test_relative_links_lead_somewhere(path):
    text = FENCE.sub("", (ROOT / path).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (ROOT / path).parent / file if file else ROOT / path
        assert there.resolve().is_relative_to(ROOT), f"{target} leads out of the repository"
        assert there.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(there), f"{target} has no such heading"


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f"]({page.relative_to(ROOT)}" in text


def test_every_example_is_listed():
    listed = (ROOT / "examples" / "README.md").read_text()
    for example in (ROOT / "examples").glob("*.py"):
        assert f"[{example.name}]({example.name})" in listed


# Names


def command_lines() -> list[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    spans = re.findall(r"`((?:faas-connector|make) [a-z][^`\n]*)`", text)
    lines = re.findall(
        r"^ *((?:faas-connector|make) [a-z].*)$", "\n".join(b.code for b in BLOCKS), re.MULTILINE
    )
    return sorted({*spans, *lines})


def options_of(command: click.Command) -> set[str]:
    return {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


@pytest.mark.parametrize("line", [line for line in command_lines() if line.startswith("faas-")])
def test_a_command_exists_and_has_these_options(line):
    _, name, *arguments = shlex.split(line, comments=True)
    command = app.get_command(click.Context(app), name)
    assert command is not None
    options = options_of(command)
    if isinstance(command, click.Group):
        for word in set(command.list_commands(click.Context(command))).intersection(arguments):
            inner = command.get_command(click.Context(command), word)
            assert inner is not None
            options |= options_of(inner)
    assert {word for word in arguments if word.startswith("-")} <= options


@pytest.mark.parametrize("line", [line for line in command_lines() if line.startswith("make ")])
def test_a_make_target_exists(line):
    target = line.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_readme_names_every_command():
    readme = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"`faas-connector {name}" not in readme] == []


@pytest.mark.parametrize(
    ("prefix", "known"),
    [
        ("controller", dir(Controller)),
        ("config", [field.name for field in dataclasses.fields(ControllerConfig)]),
        ("response", dir(InvokerResponse)),
        ("timeouts", [field.name for field in dataclasses.fields(Timeouts)]),
        ("limits", [field.name for field in dataclasses.fields(Limits)]),
    ],
)
def test_a_member_that_is_named_exists(prefix, known):
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    code = "\n".join([*re.findall(r"`([^`\n]+)`", text), *(b.code for b in PYTHON)])
    named = set(re.findall(rf"(?<![\w.]){prefix}\.(?!py\b)([a-z_]+)", code))
    assert named
    assert named <= set(known)


# What is made from the code


def test_tables_made_from_the_code_are_up_to_date():
    checked = subprocess.run(
        [sys.executable, "tools/docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}run: python tools/docs.py"


def table(document: str, name: str) -> list[str]:
    """The first column of a generated table, without its head."""
    text = (ROOT / "docs" / document).read_text()
    part = text.partition(f"<!-- generated: {name} -->")[2].partition("<!-- end -->")[0]
    return re.findall(r"^\| `([^`]+)`", part, re.MULTILINE)


def test_every_option_of_settings_that_is_named_exists():
    """In the tables, which are made from the code, and in what is written by hand."""
    sources = {kind: source_options(kind, load_source(kind)) for kind in source_kinds()}
    scopes = scope_options()
    options = [*connector_options(), *scopes, *(each for of in sources.values() for each in of)]
    flags = {f"--{option.flag}" for option in options} | {f"--{flag}" for flag in RUN_FLAGS}
    flags |= {flag.replace("--", "--no-", 1) for flag in flags}
    variables = {TERMINATION_LOG, *(option.variable() for option in connector_options())}
    for name in (*sources, "NAME", "HEARTBEAT"):
        kind = "timer" if name == "HEARTBEAT" else name
        variables |= {each.variable(name) for each in (*scopes, *sources.get(kind, ()))}
    text = "\n".join(path.read_text(encoding="utf-8") for path in CONFIGURATION)
    assert set(re.findall(r"\bFAAS_CONNECTOR_[A-Z_]+\b", text)) <= variables | {"FAAS_CONNECTOR_"}
    named = {flag for span in re.findall(r"`([^`\n]+)`", text) for flag in FLAG.findall(span)}
    assert named <= flags | {"--stack", "--json"}


def test_annotations_are_all_there():
    assert table("annotations.md", "annotations") == [each.key for each in ANNOTATIONS]


@pytest.mark.parametrize(
    ("part", "settings"),
    [("controller-config", ControllerConfig), ("timeouts", Timeouts), ("limits", Limits)],
)
def test_options_are_all_there(part, settings):
    assert table("library.md", part) == [field.name for field in dataclasses.fields(settings)]


def test_fields_of_a_response_are_all_there():
    public = {name for name in dir(InvokerResponse) if name.islower() and name[0] != "_"}
    assert set(table("library.md", "response")) == public
