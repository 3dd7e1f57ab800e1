"""The project that `new` writes: its files."""

from __future__ import annotations

import ast
import tomllib

import pytest
import yaml

from faas_connector._version import __version__
from faas_connector.cli.app import run
from faas_connector.cli.new import project_files


def test_the_files_are_complete_and_well_formed():
    files = project_files("My-Connector")
    assert not [path for path, text in files.items() if "{{" in text or "}}" in text]
    for path, text in files.items():
        if path.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "My-Connector"
    assert project["scripts"] == {"My-Connector": "my_connector.__main__:main"}
    assert project["dependencies"] == [f"faas-connector>={__version__}"]
    functions = yaml.safe_load(files["stack.yaml"])["functions"]
    assert "receiver/handler.py" in files
    assert functions["receiver"]["handler"] == "./receiver"
    assert "src/my_connector/__main__.py" in files


@pytest.mark.parametrize(
    "name", ["", "1st", "-x", "x-", "a.b", "a b", "../a", "a/b", "ä", "class", "json", "tests",
             "faas-connector", "asyncio"],
)  # fmt: skip
def test_bad_names_are_refused(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--", name]) == 2
    error = capsys.readouterr().err
    assert repr(name) in error
    assert "'my-connector'" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_is_there_is_never_touched(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "mine"
    if kind == "folder":
        there.mkdir()
    elif kind == "file":
        there.write_text("precious")
    else:
        there.symlink_to(tmp_path / "nowhere")
    assert run(["new", "mine"]) == 1
    assert "'mine' is there already" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [there]


def test_it_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["new", "mine"]) == 0
    assert "cd mine" in capsys.readouterr().out
    written = {str(path.relative_to(tmp_path / "mine")) for path in tmp_path.rglob("*.*")}
    assert set(project_files("mine")) <= written | {".gitignore"}
