"""What a plain `pip install faas-connector` gives, in an environment of its own."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHERE = "import faas_connector; print(faas_connector.__file__)"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder with the commands of an environment that has the built wheel and no extra."""
    folder = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("faas_connector-*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    install = ["--python", python, "install", "-c", constraints, wheel]
    subprocess.run([*pip, *install], check=True)
    return python.parent


def run(*command, timeout=30):
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=timeout, env=environ, cwd="/"
    )


@pytest.mark.timeout(180)
def test_the_command_runs_from_the_wheel(installed):
    commands = ("dev", "gateway", "tester", "invoke", "topics", "check", "explain", "new")
    shown = run(installed / "faas-connector", "--help")
    assert shown.returncode == 0, shown.stderr
    for command in commands:
        assert command in shown.stdout
        assert run(installed / "faas-connector", command, "--help").returncode == 0


@pytest.mark.timeout(180)
def test_the_wheel_is_typed_and_has_the_workers_program(installed):
    package = Path(run(installed / "python", "-c", WHERE).stdout.strip()).parent
    assert (package / "py.typed").exists()
    assert list((package / "local" / "worker").glob("*.py"))


@pytest.mark.timeout(180)
def test_an_event_reaches_a_function_with_nothing_else_installed(installed):
    dev = subprocess.Popen(
        [installed / "faas-connector", "dev", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        seen = []
        while not any("printer" in line and "200" in line for line in seen):
            line = dev.stdout.readline()
            assert line, "".join(seen)
            seen.append(line)
    finally:
        dev.terminate()
        dev.communicate(timeout=60)
