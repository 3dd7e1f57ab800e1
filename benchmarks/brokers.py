"""A broker to a function and acknowledged, beside its bare client: what is measured of each."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, Rounds, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import ROOT, ChildError, python

_OURS, _BARE, _CONTROL = "connector", "bare consumer", "bare consumer again (control)"
_ENGINE = "engine, events from memory"
_AIM, _MOST_IDLE = 0.6, 64
_IDLE, _PATIENCE = 2.0, 20.0


def measure(
    plan: Plan,
    broker: str,
    *,
    address: str,
    gateway: str,
    count: int,
    arguments: Sequence[str],
    note: str,
    child: str = "",
) -> Section:
    """All that is promised of a source of a broker.

    Args:
        plan: how thoroughly.
        broker: its name; in lower case that of its source, and of its child.
        address: where it is, as the child takes it.
        gateway: the URL of the stub gateway.
        count: events.
        arguments: what `faas-connector run` is told to read it.
        note: what they are, for the page.
        child: its child, where that has another name.
    """
    kind = broker.lower()
    child = child or kind
    load = ["--broker", address, "--url", gateway]
    subjects = {
        _OURS: partial(python, child, "connector", *load, "--count", count),
        _BARE: partial(python, child, "bare", *load, "--count", count),
        _CONTROL: partial(python, child, "bare", *load, "--count", count),
        _ENGINE: partial(python, "engine", "run", "--url", gateway, "--count", count),
    }
    rounds = interleaved(subjects, plan.rounds)
    half = median(values(rounds, _OURS, "rate")) / 2
    seconds = max(2.0, 4 * plan.seconds)
    steady = [
        python(child, "latency", *load, "--rate", half, "--count", round(half * seconds))
        for _ in range(plan.rounds)
    ]
    idle = [_idle_mebibytes([kind, *arguments], gateway) for _ in range(min(3, plan.rounds))]
    section = Section()
    section.figures += [
        *_rates(broker, rounds),
        Figure(f"CPU of the connector for an event from {broker}", "µs/event",
               values(rounds, _OURS, "cpu"), [], "low"),
        Figure(f"p99 from publishing to {broker} until the function answered, at half load", "ms",
               [each["p99"] * 1000 for each in steady], [], "low"),
        Figure(f"memory of `faas-connector run {kind}`, idle", "MiB", idle, [], "low", None,
               _MOST_IDLE),
    ]  # fmt: skip
    rows = [
        [name, spread(values(rounds, name, "rate")), spread(values(rounds, name, "cpu"))]
        for name in rounds
    ]
    section.add(broker, table(("subject", "events/s", "CPU µs/event"), rows), [note])
    return section


def _rates(broker: str, rounds: Rounds) -> list[Figure]:
    control = ratios(rounds, _CONTROL, _BARE, "rate")
    what = f"events/s from {broker} to a function and acknowledged, beside"
    rates = [values(rounds, name, "rate") for name in (_OURS, _BARE, _ENGINE)]
    reached = [ours / min(_AIM * bare, engine) for ours, bare, engine in zip(*rates, strict=True)]
    return [
        Figure(f"{what} a bare consumer", "x", ratios(rounds, _OURS, _BARE, "rate"), control,
               "high"),
        Figure(f"{what} the engine alone", "x", ratios(rounds, _OURS, _ENGINE, "rate"), control,
               "high"),
        Figure(f"{what} {_AIM} of the bare consumer, or the engine alone where that is less", "x",
               reached, control, "high", None, 1),
    ]  # fmt: skip


def _idle_mebibytes(arguments: Sequence[str], gateway: str) -> float:
    """What a connector holds that is open and has nothing to do."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w+") as log:
        command = [sys.executable, "-m", "faas_connector", "run", *arguments]
        with subprocess.Popen(
            [*command, "--gateway", gateway, "--state", f"{folder}/state"],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        ) as process:  # fmt: skip
            try:
                deadline = time.monotonic() + _PATIENCE
                while " is open" not in (said := Path(log.name).read_text()):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise ChildError(f"the connector did not open its source: {said[-1000:]}")
                    time.sleep(0.05)
                time.sleep(_IDLE)
                status = Path(f"/proc/{process.pid}/status").read_text()
            finally:
                process.terminate()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
