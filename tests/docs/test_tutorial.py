"""The tutorial, done from its first line to its last, as whoever reads it does it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faas_connector.serving.listener import Port

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PORTS = ("8080", "9000", "9090")


class Reader:
    """Follows the page in a folder of its own, on ports that are free."""

    def __init__(self, folder):
        self._folder = folder
        self._ports = {number: Port("127.0.0.1", 0) for number in PORTS}
        programs = Path(sys.executable).parent
        self._environ = {
            "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder),
            "OPENFAAS_URL": self.here("http://127.0.0.1:8080"),
        }  # fmt: skip
        self._terminals = {}
        self._said = ""

    def here(self, text):
        """The text with ports of ours."""
        for number, port in self._ports.items():
            text = text.replace(f":{number}", f":{port.number}")
        return text

    def follow(self, note, language, code):
        code = self.here(code)
        if file := re.search(r"file: (\S+)", note):
            path = self._folder / file[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
        elif note.startswith("not run: "):
            pass
        elif language == "text":
            for line in code.splitlines():
                if note.startswith("log of the "):
                    self.eventually(lambda line=line: line in self.log("second"))
                else:
                    assert line in self._said
        elif note in {"first terminal", "second terminal"}:
            self.start(note.split()[0], code)
        else:
            if note == "Mend":
                self.mend()
            elif note.startswith("Ctrl-C"):
                self.interrupt("first")
            self._said = self.say(code)

    def say(self, commands):
        commands = re.sub(r"^curl ", "curl -sS ", commands, flags=re.MULTILINE)
        done = subprocess.run(
            ["sh", "-e", "-c", commands], cwd=self._folder, env=self._environ, check=False,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name, command):
        number = "8080" if name == "first" else "9000"
        port = self._ports[number].number
        command = command.strip()
        if name == "first":
            command += f" --port {port}"
        with (self._folder / f"{name}.log").open("w") as log:
            self._terminals[name] = subprocess.Popen(
                command.split(), cwd=self._folder, env=self._environ, stdout=log, stderr=log,
            )  # fmt: skip
        ready = "Ctrl-C ends it" if name == "first" else " is open"
        self.eventually(lambda: ready in self.log(name))

    def log(self, name):
        return (self._folder / f"{name}.log").read_text()

    def eventually(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            ended = [each for each in self._terminals.values() if each.poll() is not None]
            assert not ended, [self.log(name) for name in self._terminals]
            assert time.monotonic() < deadline, [self.log(name) for name in self._terminals]
            time.sleep(0.02)

    def interrupt(self, name):
        process = self._terminals.pop(name)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, self.log(name)

    def mend(self):
        path = self._folder / "thanks" / "handler.py"
        path.write_text(path.read_text().replace("<= 0", "< -9"))
        self.eventually(lambda: "starting the function anew" in self.log("first"))

    def close(self):
        for process in self._terminals.values():
            process.kill()
            process.wait()
        for port in self._ports.values():
            port.close()


@pytest.fixture
def reader(tmp_path):
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.timeout(120)
@pytest.mark.skipif(
    not shutil.which("curl") and not os.environ.get("CI"),  # there, it fails without
    reason="no curl: apt-get install curl",
)
def test_every_step(reader):
    blocks = [(each["note"] or "", each["language"], each["code"]) for each in BLOCK.finditer(PAGE)]
    assert len(blocks) > 20
    for block in blocks:
        reader.follow(*block)
    reader.interrupt("second")
