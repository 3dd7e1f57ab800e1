"""Refresh, match, memory and start: what is measured without clients beside each other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from benchmarks.figures import Figure, Rounds, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import ROOT, Measured, go_program, python, stub_gateway

_FUNCTIONS = 10_000
_TOPICS = 100_000
_OURS, _CONTROL, _GO = "ours", "ours again (control)", "Go SDK"


def refresh(plan: Plan) -> Section:
    """10,000 functions, from the request to the new map."""
    with stub_gateway(_FUNCTIONS) as gateway:
        ours = partial(python, "refresh", "--url", gateway.http)
        subjects: dict[str, Callable[[], Measured]] = {_OURS: ours, _CONTROL: ours}
        if plan.go:
            subjects[_GO] = partial(go_program, plan.go, "--mode", "refresh", "--url", gateway.http)
        rounds = interleaved(subjects, plan.rounds)
    again = _figure(
        "refresh with 10,000 functions, 1 % of them changed", rounds, "again", "ms", 40, 25
    )
    stall = _figure(
        "longest stall of the loop during such a refresh", rounds, "stall", "ms", 30, 10
    )
    section = Section([again, stall])
    head = ("client", "first map ms", "refresh ms", "longest stall ms", "peak MB")
    units = {"first": 1e3, "again": 1e3, "stall": 1e3, "peak": 1e-6}
    section.add("Refresh with 10,000 functions", table(head, _rows(rounds, units)))
    return section


def match(plan: Plan) -> Section:
    """Among 100,000 topics."""
    ours = partial(python, "match", "--topics", _TOPICS)
    subjects: dict[str, Callable[[], Measured]] = {_OURS: ours, _CONTROL: ours}
    if plan.go:
        subjects[_GO] = partial(go_program, plan.go, "--mode", "match", "--topics", _TOPICS)
    rounds = interleaved(subjects, 1 if plan.quick else plan.rounds)
    section = Section(
        [
            _figure(f"match among 100,000 topics: {dialect}", rounds, dialect, "µs", must, aim)
            for dialect, must, aim in (
                ("exact", 1, 0.4), ("glob", 10, 10), ("mqtt", 10, 3), ("nats", 10, 3),
            )
        ]
    )  # fmt: skip
    dialects = ("exact", "glob", "mqtt", "nats")
    units = {key: 1e6 for each in dialects for key in (each, f"{each} again")}
    head = ("client", *(f"{key} µs" for key in units))
    section.add("Match among 100,000 topics", table(head, _rows(rounds, units)))
    return section


def memory(plan: Plan) -> Section:
    """Over a million events; over fewer in a quick run."""
    events = 50_000 if plan.quick else 1_000_000
    with stub_gateway(50) as gateway:
        measured = python("memory", "--url", gateway.http, "--topic", "wait.0", "--events", events)
    return Section(
        [
            Figure(
                f"peak memory over {events:,} events", "MB", [measured["peak"] / 1e6], [], "low",
                64, 40,
            ),
            Figure(
                "growth over the second half of them", "MB", [measured["growth"] / 1e6], [], "low",
                1,
            ),
        ]
    )  # fmt: skip


def start(plan: Plan) -> Section:
    """CPU of the import and of the command's help."""
    subjects = {
        f"{name}{again}": partial(_cpu, *command)
        for name, command in (
            ("import faas_connector", ("-c", "import faas_connector")),
            ("faas-connector --help", ("-m", "faas_connector", "--help")),
        )
        for again in ("", " again")
    }
    rounds = interleaved(subjects, plan.rounds)
    return Section(
        [
            Figure(
                f"CPU of `{name}`", "ms", [1e3 * each for each in values(rounds, name, "cpu")],
                ratios(rounds, f"{name} again", name, "cpu"), "low", must, aim,
            )
            for name, must, aim in (
                ("import faas_connector", 150, 100), ("faas-connector --help", 300, 200),
            )
        ]
    )  # fmt: skip


def _cpu(*arguments: str) -> Measured:
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} exits with {process.returncode}")
    return {"cpu": usage.ru_utime + usage.ru_stime}


def _figure(
    name: str, rounds: Rounds, key: str, unit: str, must: float | None, aim: float
) -> Figure:
    scale = {"ms": 1e3, "µs": 1e6}[unit]
    samples = [scale * value for value in values(rounds, _OURS, key)]
    control = ratios(rounds, _CONTROL, _OURS, key)
    return Figure(name, unit, samples, control, "low", must, aim)


def _rows(rounds: Rounds, units: dict[str, float]) -> list[list[str]]:
    return [
        [
            client,
            *(
                spread(values(rounds, client, key), scale) if key in rounds[client][0] else ""
                for key, scale in units.items()
            ),
        ]
        for client in rounds
    ]
