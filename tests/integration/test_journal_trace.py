"""The system calls of a durable source: an event is on disk before it is accepted."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faas_connector.testing import LocalFunction, LocalGateway

PROGRAM = Path(__file__).with_name("connector.py")


@pytest.fixture(scope="module")
def strace():
    if shutil.which("strace") is None and os.environ.get("CI") == "true":
        subprocess.run(["apt-get", "install", "-y", "strace"], check=True, capture_output=True)
    found = shutil.which("strace")
    if found is None:
        pytest.skip("no strace; install it with: apt-get install strace")
    probe = subprocess.run([found, "-o", "/dev/null", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no process may be traced here: {probe.stderr.decode(errors='replace')}")
    return found


async def test_an_event_is_on_disk_before_it_is_accepted(tmp_path, strace):
    trace = tmp_path / "trace.txt"
    numbers = [str(number) for number in range(100_000_000, 100_000_020)]
    async with LocalGateway(
        functions=[LocalFunction(name="one", annotations={"topic": "orders"})]
    ) as gateway:
        process = await asyncio.create_subprocess_exec(
            strace, "-f", "-y", "-s", "100000", "-e", "trace=write,pwrite64,fsync,fdatasync",
            "-o", str(trace),
            sys.executable, str(PROGRAM), "push", str(tmp_path), gateway.url,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, limit=2**20, start_new_session=True,
        )  # fmt: skip
        try:
            for number in numbers:
                process.stdin.write(f"{number}\n".encode())
                assert (await process.stdout.readline()).decode().strip() == number
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
    calls = trace.read_text(errors="replace").splitlines()
    for number in numbers:
        written = first(calls, rf"pwrite64\(\d+<\S+state\.db-wal>, .*{number}", 0)
        synced = synced_after(calls, written)
        accepted = first(calls, rf'write\(1<.*"{number}\\n"', 0)
        assert written < synced < accepted, number


WRITER = """
import asyncio, os, sys
from faas_connector import Event
from faas_connector.store import Entry, State
from faas_connector.stores.sqlite import SqliteStore

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        dead = Entry(state=State.DEAD, source="s", event=Event("t"))
        ids = await store.write([dead] * 3)
        os.write(1, b"begin\\n")
        for number in ids:
            await store.finish([number], until=9.0, synced=False)
        os.write(1, b"finished\\n")
        await store.release([])
        os.write(1, b"released\\n")

asyncio.run(main())
"""


def test_what_is_written_without_a_sync_is_on_disk_with_the_next_call(tmp_path, strace):
    trace = tmp_path / "trace.txt"
    subprocess.run(
        [strace, "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", str(trace),
         sys.executable, "-c", WRITER, str(tmp_path / "state")],
        check=True, stdout=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    calls = trace.read_text(errors="replace").splitlines()
    begun, finished, released = (
        first(calls, rf'write\(1<.*"{text}', 0) for text in ("begin", "finished", "released")
    )
    synced = re.compile(r"(fdatasync|fsync)\(")
    assert any("pwrite64" in call and "state.db-wal" in call for call in calls[begun:finished])
    assert not any(synced.search(call) for call in calls[begun:finished])
    assert finished < synced_after(calls, finished) < released


def first(calls, pattern, begin):
    """Where the first call from `begin` on stands that fits."""
    for at in range(begin, len(calls)):
        if re.search(pattern, calls[at]):
            return at
    raise AssertionError(f"no call is {pattern}")


def synced_after(calls, begin):
    """Where the log's next sync that begins after `begin` has returned without error."""
    at = first(calls, r"(fdatasync|fsync)\(\d+<\S+state\.db-wal>", begin + 1)
    if "unfinished" in calls[at]:
        thread = calls[at].split()[0]
        at = first(calls, rf"^{thread} .*(fdatasync|fsync) resumed", at)
    assert calls[at].endswith("= 0")
    return at
