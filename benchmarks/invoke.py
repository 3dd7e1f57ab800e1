"""Calls beside aiohttp, wrk and the Go connector SDK, all against one stub gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from benchmarks.figures import Figure, Rounds, interleaved, ratios, spread, table, values
from benchmarks.functions import NAMESPACE
from benchmarks.plan import Plan, Section
from benchmarks.processes import Gateway, Measured, go_sdk, python, stub_gateway, wrk

OURS, CONTROL, ASYNCIO, GO = "ours, uvloop", "ours again (control)", "ours, asyncio", "Go SDK"
AIOHTTP, WRK = "aiohttp, uvloop", "wrk (limit)"
_HEAD = ("client", "events/s", "to Go", "p50 ms", "p99 ms", "CPU s/10,000", "to Go", "peak MB")
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
    all_clients: bool = True

    @property
    def title(self) -> str:
        """In words."""
        load = f"steady {self.rate:,} events/s" if self.rate else f"{self.in_flight} in flight"
        fan = ", fan-out 3" if self.kind == "fan" else ""
        tls = ", TLS" if self.scheme == "https" else ""
        return f"{load}, functions of {self.wait} ms{fan}{tls}"


def run(plan: Plan) -> Section:
    """Measure every scenario of the plan."""
    section = Section()
    found: dict[Scenario, Rounds] = {}
    with stub_gateway(functions=50) as gateway:
        for scenario in _quick_scenarios() if plan.quick else _all_scenarios():
            rounds = found[scenario] = interleaved(_clients(plan, gateway, scenario), plan.rounds)
            section.add(scenario.title, table(_HEAD, [_row(rounds, name) for name in rounds]))
            print(section.details[-1], end="\n\n", flush=True)
        section.figures += _figures(found)
        section.figures.append(_beside_one_after_another(plan, gateway))
    return section


def _quick_scenarios() -> list[Scenario]:
    return [
        Scenario(64, 0),
        Scenario(256, 0, all_clients=False),
        Scenario(1, 0, all_clients=False),
        Scenario(64, 10, all_clients=False),
        Scenario(64, 0, "https", all_clients=False),
        Scenario(64, 0, kind="fan", all_clients=False),
    ]


def _all_scenarios() -> list[Scenario]:
    return [
        *(
            Scenario(in_flight, wait, scheme)
            for scheme in ("http", "https")
            for wait in (0, 10, 100)
            for in_flight in (1, 64, 256)
        ),
        Scenario(64, 0, kind="fan", all_clients=False),
        Scenario(64, 10, rate=800, all_clients=False),
    ]


def _clients(plan: Plan, gateway: Gateway, scenario: Scenario) -> dict[str, Callable[[], Measured]]:
    url = gateway.https if scenario.scheme == "https" else gateway.http
    ca = gateway.ca if scenario.scheme == "https" else None
    function = f"wait-{scenario.wait}-1.{NAMESPACE}"
    load: list[object] = [
        "--url", url, "--topic", f"{scenario.kind}.{scenario.wait}", "--function", function,
        "--in-flight", scenario.in_flight, "--rate", scenario.rate,
        "--warm-up", 0.2 + 3 * scenario.wait / 1000, "--seconds", plan.seconds, "--body", _BODY,
    ]  # fmt: skip
    secured = [*load, "--ca", ca] if ca else load
    # As many connections as calls: the Go SDK has no limit.
    connections = scenario.in_flight * (3 if scenario.kind == "fan" else 1)
    ours = partial(python, "ours", *secured, "--connections", max(64, connections))
    clients: dict[str, Callable[[], Measured]] = {OURS: ours, CONTROL: ours}
    if plan.go:
        clients[GO] = partial(go_sdk, plan.go, *load, ca=ca)
    if scenario.all_clients:
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


def _figures(found: dict[Scenario, Rounds]) -> list[Figure]:
    wanted: list[tuple[Scenario, str, str, float | None, float]] = [
        (Scenario(64, 0), OURS, "rate", 1.0, 1.2),
        (Scenario(64, 0), OURS, "cpu", 0.75, 0.65),
        (Scenario(256, 0), OURS, "rate", None, 1.8),
        (Scenario(1, 0), OURS, "rate", None, 1.1),
        (Scenario(64, 0), ASYNCIO, "rate", None, 0.75),
        (Scenario(64, 0, "https"), OURS, "rate", None, 0.95),
        (Scenario(64, 10), OURS, "p99", None, 1.0),
        (Scenario(64, 10, rate=800), OURS, "p99", None, 1.0),
        (Scenario(64, 0, kind="fan"), OURS, "p99", None, 1.2),
    ]
    measured = {scenario.title: rounds for scenario, rounds in found.items()}
    figures: list[Figure] = []
    for scenario, client, key, must, aim in wanted:
        rounds = measured.get(scenario.title, {})
        if scenario.title in measured and client in rounds:
            what = {"rate": "events/s", "cpu": "CPU per event", "p99": "p99"}[key]
            figures.append(
                Figure(
                    f"{what} of {client}: {scenario.title}",
                    "x Go",
                    ratios(rounds, client, GO, key) if GO in rounds else [],
                    ratios(rounds, CONTROL, OURS, key),
                    "high" if key == "rate" else "low",
                    must,
                    aim,
                )
            )
    return figures


def _beside_one_after_another(plan: Plan, gateway: Gateway) -> Figure:
    """The official connectors call one after another."""
    many = _clients(plan, gateway, Scenario(64, 10, all_clients=False))
    one = _clients(plan, gateway, Scenario(1, 10, all_clients=False))
    subjects = {OURS: many[OURS], CONTROL: many[CONTROL]}
    if plan.go:
        subjects[GO] = one[GO]
    rounds = interleaved(subjects, plan.rounds)
    return Figure(
        "events/s of ours with 64 in flight, of Go's one after another: functions of 10 ms",
        "x Go",
        ratios(rounds, OURS, GO, "rate") if plan.go else [],
        ratios(rounds, CONTROL, OURS, "rate"),
        "high",
        aim=55,
    )
