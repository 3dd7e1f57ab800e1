"""What the engine costs on top of bare `invoke`."""

from __future__ import annotations

from functools import partial

from benchmarks.figures import Figure, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import python, stub_gateway

_RUN, _INVOKE, _CONTROL = "run", "invoke", "invoke again (control)"


def run(plan: Plan) -> Section:
    """Measure."""
    section = Section()
    count = 10_000 if plan.quick else 50_000
    with stub_gateway(functions=50) as gateway:
        load = ["--url", gateway.http, "--count", count]
        subjects = {
            _RUN: partial(python, "engine", "run", *load),
            _INVOKE: partial(python, "engine", "invoke", *load),
            _CONTROL: partial(python, "engine", "invoke", *load),
        }
        rounds = interleaved(subjects, plan.rounds)
    costs = [
        mine - bare
        for mine, bare in zip(
            values(rounds, _RUN, "cpu"), values(rounds, _INVOKE, "cpu"), strict=True
        )
    ]
    control = ratios(rounds, _CONTROL, _INVOKE, "cpu")
    section.figures.append(
        Figure("CPU of the engine over bare invoke, uvloop", "µs/event", costs, control, "low", 10)
    )
    rates = ratios(rounds, _RUN, _INVOKE, "rate")
    section.figures.append(
        Figure("events/s of a run, beside bare invoke", "x invoke", rates, control, "high")
    )
    rows = [
        [name, spread(values(rounds, name, "rate")), spread(values(rounds, name, "cpu"))]
        for name in rounds
    ]
    section.add("Engine", table(("subject", "events/s", "CPU µs/event"), rows))
    return section
