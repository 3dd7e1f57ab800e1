"""Starts what is measured, reads the line of JSON that it prints, and leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

ROOT = Path(__file__).resolve().parent.parent
_GO = ROOT / "benchmarks" / "go"
_WRK_LINE = re.compile(r"Requests/sec:\s+([\d.]+)")
_WRK_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_PATIENCE = 120.0

Measured = Mapping[str, float]


class ChildError(Exception):
    """A child failed; the text is what it wrote to standard error."""


@dataclass(frozen=True)
class Gateway:
    """A stub gateway that runs."""

    http: str
    https: str
    ca: str
    """PEM file with the CA of its certificate."""


@contextmanager
def stub_gateway(functions: int) -> Iterator[Gateway]:
    """A stub gateway with so many functions, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        ca, certificate = Path(folder, "ca.pem"), Path(folder, "certificate.pem")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(ca)
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(certificate)
        command = [sys.executable, "-m", "benchmarks.stub", "--certificate", str(certificate)]
        with subprocess.Popen(
            [*command, "--functions", str(functions)],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                ports = json.loads(process.stdout.readline()) if process.stdout else {}
                urls = {scheme: f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()}
                yield Gateway(**urls, ca=str(ca))
            finally:
                process.terminate()


def python(module: str, *arguments: object) -> Measured:
    """What a module of `benchmarks.children` prints."""
    return _measured([sys.executable, "-m", f"benchmarks.children.{module}", *map(str, arguments)])


def build_go(folder: str) -> Path | None:
    """The program that uses the Go connector SDK, beside the one that reads NATS; None without Go.

    Raises:
        ChildError: Go can't build it.
    """
    go = shutil.which("go")
    if go is None:
        return None
    _run([go, "build", "-o", f"{folder}/", "./..."], cwd=_GO)
    return Path(folder, "sdk")


def go_program(program: Path, *arguments: object, ca: str | None = None) -> Measured:
    """What a Go program prints."""
    environment = {"SSL_CERT_FILE": ca} if ca else {}
    return _measured([str(program), *map(str, arguments)], environment)


def wrk(url: str, in_flight: int, seconds: float, body: int) -> Measured:
    """What wrk measures. It checks answers for their status only."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = string.rep("x", {body})\n')
        script.write('wrk.headers["Content-Type"] = "text/plain"\n')
        script.flush()
        said = _run(
            ["wrk", "-t1", f"-c{in_flight}", f"-d{max(1, round(seconds))}s", "--latency",
             "-s", script.name, url]
        )  # fmt: skip
    rate = _WRK_LINE.search(said)
    if rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise ChildError(f"wrk was not answered with 200 each time: {said}")
    latencies = {
        f"p{percent}": float(number) * _SECONDS[unit]
        for percent, number, unit in _WRK_LATENCY.findall(said)
    }
    return {"rate": float(rate[1]), **latencies}


def _measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    return json.loads(_run(command, environment=environment))


def _run(
    command: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode != 0:
        raise ChildError(f"{' '.join(map(str, command[:4]))} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
