"""A broker as a child process: installed or skipped, started, killed, restarted, stopped.

A broker's own module subclasses `Server`, and gives a fixture for a session of tests:

    @pytest.fixture(scope="session")
    def redis_server(tmp_path_factory):
        with RedisServer(tmp_path_factory.mktemp("redis")) as server:
            yield server
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from faas_connector.serving.listener import Port

_SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
_NO_SERVICES = Path("/usr/sbin/policy-rc.d")


def binary_of(package, name):
    """The path of a Debian package's program; skips the test where it isn't installed.

    With `CI=true` it is installed, and failing to fails the test.
    """
    found = _which(name)
    if found is None and os.environ.get("CI") == "true":
        with locked(f"install-{package}"):
            if _which(name) is None:
                _install(package)
        found = _which(name)
        assert found, f"{package} is installed, and there is no {name}"
    if found is None:
        pytest.skip(f"there is no {name}; install it with: apt-get install -y {package}")
    return found


@contextlib.contextmanager
def locked(name):
    """One process at a time of this user; for what is done once and used by all."""
    path = Path(tempfile.gettempdir()) / f"faas-connector-{os.getuid()}-{name}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _which(name):
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}")


def _install(package):
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    with _no_service_starts():
        done = None
        for command in (["install", "-y", package], ["update"], ["install", "-y", package]):
            done = subprocess.run(
                [*apt, *command], env=environ, capture_output=True, text=True, check=False
            )
            if done.returncode == 0 and command[0] == "install":
                return
    pytest.fail(f"apt-get install -y {package} failed: {done.stderr.strip()[-500:]}")


@contextlib.contextmanager
def _no_service_starts():
    """A package that brings a service starts it, where this file doesn't forbid it."""
    if _NO_SERVICES.exists() or not os.access(_NO_SERVICES.parent, os.W_OK):
        yield
        return
    _NO_SERVICES.write_text("#!/bin/sh\nexit 101\n")
    _NO_SERVICES.chmod(0o755)
    try:
        yield
    finally:
        _NO_SERVICES.unlink()


class Server:
    """A broker on loopback; its port and its folder stay the same when it is started again."""

    host = "127.0.0.1"
    patience = 60.0
    """Seconds in which it must have started, or stopped."""
    package = binary = ""
    """The Debian package, and its program."""

    def __init__(self, folder):
        """Prepare; `with` starts it, and ends it."""
        self.folder = Path(folder)
        self.program = self.find()
        self.process = None
        self._ports = []
        self.port = self.another_port()

    def find(self):
        """The program; skips where there is none."""
        return binary_of(self.package, self.binary)

    def command(self):
        """What starts it in the foreground."""
        raise NotImplementedError

    def environ(self):
        """Its environment."""
        return dict(os.environ)

    def answers(self):
        """Whether it can be used; asked again until it can."""
        with socket.create_connection((self.host, self.port), timeout=1.0):
            return True

    def another_port(self):
        """A port that the kernel chose, kept for this server while it is down."""
        kept = Port(self.host, 0)
        self._ports.append(kept)
        return kept.number

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def log(self):
        return self.folder / "server.log"

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.kill()
        for port in self._ports:
            port.close()

    def start(self):
        """Start it, and wait until it can be used."""
        self.launch()
        self.wait()

    def launch(self):
        """Start it."""
        assert self.process is None, "it runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environ(),
            )

    def wait(self):
        """Wait until it can be used."""
        deadline = time.monotonic() + self.patience
        while True:
            with contextlib.suppress(OSError):
                if self.answers():
                    return
            if self.process.poll() is not None:
                pytest.fail(f"{self.program} ended with {self.process.returncode}: {self._last()}")
            if time.monotonic() > deadline:
                pytest.fail(f"{self.program} is not up after {self.patience} s: {self._last()}")
            time.sleep(0.01)

    def _last(self):
        return self.log.read_text("utf-8", "replace")[-2000:]

    def kill(self):
        """End it as a crash would; what it keeps in its folder stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """End it as an administrator would."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(self.patience)
            except subprocess.TimeoutExpired:
                self.kill()
                pytest.fail(f"{self.program} did not end within {self.patience} s of SIGTERM")
            self.process = None

    def restart(self, *, gracefully=False):
        """End it, and start it on the same port and folder."""
        if gracefully:
            self.stop()
        else:
            self.kill()
        self.start()

    async def restarted(self, *, gracefully=False):
        """`restart`, without holding up the loop."""
        if gracefully:
            self.stop()
        else:
            self.kill()
        self.launch()
        async with asyncio.timeout(self.patience):
            while not self._is_up():  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.02)

    def _is_up(self):
        try:
            return self.answers()
        except OSError:
            return False
