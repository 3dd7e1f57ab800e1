"""Calls beside aiohttp, wrk and the Go connector SDK, all against one stub gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from benchmarks.figures import Figure, Rounds, interleaved, ratios, spread, table, values
from benchmarks.functions import NAMESPACE, WAITS
from benchmarks.picture import Line
from benchmarks.plan import Plan, Section
from benchmarks.processes import Gateway, Measured, go_program, python, stub_gateway, wrk

OURS, CONTROL, ASYNCIO, GO = "ours, uvloop", "ours again (control)", "ours, asyncio", "Go SDK"
ENGINE, AIOHTTP, WRK = "ours, in a run", "aiohttp, uvloop", "wrk (limit)"
_HEAD = ("client", "events/s", "to Go", "p50 ms", "p99 ms", "CPU µs/event", "to Go", "peak MB")
_BODY = 1024


@dataclass(frozen=True)
class Scenario:
    """A load."""

    in_flight: int
    wait: int
    """Milliseconds that the function takes."""
    scheme: Literal["http", "https"] = "http"
    kind: Literal["wait", "fan"] = "wait"
    """One function per event, or three."""
    rate: int = 0
    """Events/s, instead of as many as there are."""

    @property
    def title(self) -> str:
        """In words."""
        load = f"steady {self.rate:,} events/s" if self.rate else f"{self.in_flight} in flight"
        fan = ", fan-out 3" if self.kind == "fan" else ""
        tls = ", TLS" if self.scheme == "https" else ""
        return f"{load}, functions of {self.wait} ms{fan}{tls}"


@dataclass(frozen=True)
class _Wanted:
    """A figure, as a ratio to the Go SDK in the same round."""

    scenario: Scenario
    subject: str
    key: Literal["rate", "cpu", "p99"]
    must: float
    aim: float


_MAIN = Scenario(64, 0)
_SLOW = Scenario(64, 10)
_WANTED = (
    _Wanted(_MAIN, OURS, "rate", 1.2, 1.5),
    _Wanted(Scenario(256, 0), OURS, "rate", 1.8, 2.3),
    _Wanted(Scenario(1, 0), OURS, "rate", 1.1, 1.3),
    _Wanted(_MAIN, ASYNCIO, "rate", 0.75, 0.9),
    _Wanted(Scenario(64, 0, "https"), OURS, "rate", 0.95, 1.1),
    _Wanted(_MAIN, OURS, "cpu", 0.65, 0.5),
    _Wanted(_SLOW, OURS, "p99", 1.0, 0.8),
    _Wanted(Scenario(64, 10, rate=800), OURS, "p99", 1.0, 0.8),
    _Wanted(Scenario(64, 0, kind="fan"), OURS, "p99", 1.2, 1.0),
    _Wanted(_MAIN, ENGINE, "rate", 0.9, 1.1),
)
_WORDS = {"rate": "events/s", "cpu": "CPU per event", "p99": "p99"}


def run(plan: Plan) -> Section:
    """Measure every scenario that a figure or the picture wants."""
    section = Section()
    drawn = [] if plan.quick else [Scenario(64, wait) for wait in WAITS]
    scenarios = dict.fromkeys([*(each.scenario for each in _WANTED), *drawn])
    found: dict[Scenario, Rounds] = {}
    with stub_gateway(functions=50) as gateway:
        for scenario in scenarios:
            rounds = found[scenario] = interleaved(_clients(plan, gateway, scenario), plan.rounds)
            section.add(scenario.title, table(_HEAD, [_row(rounds, name) for name in rounds]))
            print(section.details[-1], end="\n\n", flush=True)
        section.figures += [_figure(each, found[each.scenario]) for each in _WANTED]
        section.figures.append(_beside_one_after_another(plan, gateway))
    section.lines += [line for subject in (OURS, GO) if (line := _line(subject, drawn, found))]
    return section


def _clients(plan: Plan, gateway: Gateway, scenario: Scenario) -> dict[str, Callable[[], Measured]]:
    url = gateway.https if scenario.scheme == "https" else gateway.http
    ca = gateway.ca if scenario.scheme == "https" else None
    function = f"wait-{scenario.wait}-1.{NAMESPACE}"
    topic = f"{scenario.kind}.{scenario.wait}"
    load: list[object] = [
        "--url", url, "--topic", topic, "--function", function,
        "--in-flight", scenario.in_flight, "--rate", scenario.rate,
        "--warm-up", 0.2 + 3 * scenario.wait / 1000, "--seconds", plan.seconds, "--body", _BODY,
    ]  # fmt: skip
    secured = [*load, "--ca", ca] if ca else load
    # As many connections as calls: the Go SDK has no limit.
    connections = scenario.in_flight * (3 if scenario.kind == "fan" else 1)
    ours = partial(python, "ours", *secured, "--connections", max(64, connections))
    clients: dict[str, Callable[[], Measured]] = {OURS: ours, CONTROL: ours}
    if plan.go:
        clients[GO] = partial(go_program, plan.go, *load, ca=ca)
    if scenario == _MAIN:
        count = max(20_000, round(20_000 * plan.seconds))  # so that few scrapes are as usual
        clients[ENGINE] = partial(
            python, "engine", "run-with-everything", "--url", url, "--topic", topic,
            "--count", count, "--body", _BODY,
        )  # fmt: skip
        clients[ASYNCIO] = partial(ours, "--loop", "asyncio")
        clients[AIOHTTP] = partial(python, "aiohttp_client", *secured)
        if plan.has_wrk:
            target = f"{url}/function/{function}"
            clients[WRK] = partial(wrk, target, scenario.in_flight, plan.seconds, _BODY)
    return clients


def _row(rounds: Rounds, client: str) -> list[str]:
    def against_go(key: str) -> str:
        known = GO in rounds and key in rounds[client][0]
        return spread(ratios(rounds, client, GO, key)) if known else ""

    def shown(key: str, scale: float) -> str:
        return spread(values(rounds, client, key), scale) if key in rounds[client][0] else ""

    return [
        client, shown("rate", 1), against_go("rate"), shown("p50", 1e3), shown("p99", 1e3),
        shown("cpu", 1), against_go("cpu"), shown("peak", 1e-6),
    ]  # fmt: skip


def _figure(wanted: _Wanted, rounds: Rounds) -> Figure:
    return Figure(
        f"{_WORDS[wanted.key]} of {wanted.subject}: {wanted.scenario.title}",
        "x Go",
        ratios(rounds, wanted.subject, GO, wanted.key) if GO in rounds else [],
        ratios(rounds, CONTROL, OURS, wanted.key),
        "high" if wanted.key == "rate" else "low",
        wanted.must,
        wanted.aim,
    )


def _line(subject: str, scenarios: list[Scenario], found: dict[Scenario, Rounds]) -> Line | None:
    rounds = [found[scenario] for scenario in scenarios if subject in found[scenario]]
    if not rounds:
        return None
    return Line(
        subject,
        [scenario.wait for scenario in scenarios],
        [values(each, subject, "rate") for each in rounds],
        [values(each, subject, "p99") for each in rounds],
    )


def _beside_one_after_another(plan: Plan, gateway: Gateway) -> Figure:
    """The official connectors call one after another."""
    many = _clients(plan, gateway, _SLOW)
    subjects = {OURS: many[OURS], CONTROL: many[CONTROL]}
    if plan.go:
        subjects[GO] = _clients(plan, gateway, Scenario(1, 10))[GO]
    rounds = interleaved(subjects, plan.rounds)
    return Figure(
        "events/s of ours with 64 in flight, of Go's one after another: functions of 10 ms",
        "x Go",
        ratios(rounds, OURS, GO, "rate") if plan.go else [],
        ratios(rounds, CONTROL, OURS, "rate"),
        "high",
        55,
        62,
    )
