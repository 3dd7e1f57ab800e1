"""`faas-connector new`."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

import click

from faas_connector._version import __version__
from faas_connector.cli.command import Command
from faas_connector.cli.failures import CommandError
from faas_connector.cli.output import say

HELP = """Write a small connector project to start from.

It sends made-up payments to the functions that ask for payment.received, has a
test that runs on a local gateway, and a function to try it with. NAME becomes
a folder here, and the name of the project and its command.

\b
Example:
  faas-connector new my-connector
"""

_TEMPLATES = Path(__file__).parent / "project"
# PEP 508, without the dot: the name is a module's, too.
_NAME = re.compile(r"[a-z]([a-z0-9_-]*[a-z0-9])?", re.ASCII | re.IGNORECASE)


def _check_name(_: click.Context, __: click.Parameter, name: str) -> str:
    module = module_name(name)
    if not _NAME.fullmatch(name):
        reason = "must be letters, digits and '-', beginning with a letter"
    elif keyword.iskeyword(module):
        reason = "is a word of Python's own"
    elif module in sys.stdlib_module_names or module in {"faas_connector", "tests"}:
        reason = "is the name of a module that exists already"
    else:
        return name
    raise click.BadParameter(f"{name!r} {reason}; for example 'my-connector'")


def module_name(name: str) -> str:
    """The name of the project's module."""
    return name.lower().replace("-", "_")


@click.command("new", cls=Command, help=HELP)
@click.argument("name", callback=_check_name)
def command(*, name: str) -> None:
    """Write a small connector project to start from."""
    folder = Path(name)
    if folder.exists() or folder.is_symlink():
        raise CommandError(f"{name!r} is there already; take another name, or remove it first")
    for path, text in project_files(name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    say(f"Wrote {name}/. How to go on stands in {name}/README.md; in short:")
    say(f"  cd {name}")
    say("  faas-connector gateway --stack stack.yaml")
    say(f"and in a second terminal, in {name}/src:")
    say(f"  python -m {module_name(name)}")


def project_files(name: str) -> dict[str, str]:
    """The files of a project: path -> text."""
    module = module_name(name)
    return {
        path: _fill((_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8"), name)
        for path, template in {
            "pyproject.toml": "pyproject.toml",
            "README.md": "README.md",
            ".gitignore": "gitignore",
            "stack.yaml": "stack.yaml",
            "receiver/handler.py": "handler.py",
            f"src/{module}/__init__.py": "init.py",
            f"src/{module}/__main__.py": "main.py",
            f"src/{module}/connector.py": "connector.py",
            "tests/conftest.py": "conftest.py",
            "tests/test_connector.py": "test_connector.py",
        }.items()
    }


def _fill(template: str, name: str) -> str:
    for mark, text in {"name": name, "module": module_name(name), "version": __version__}.items():
        template = template.replace(f"{{{{{mark}}}}}", text)
    return template
