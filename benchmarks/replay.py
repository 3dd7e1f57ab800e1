"""How fast dead letters are sent again, beside bare `invoke`."""

from __future__ import annotations

from functools import partial

from benchmarks.figures import Figure, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import python, stub_gateway

_REPLAY, _INVOKE, _CONTROL = "replay", "invoke", "invoke again (control)"


def run(plan: Plan) -> Section:
    """Measure."""
    section = Section()
    count = 5_000 if plan.quick else 20_000
    with stub_gateway(functions=50) as gateway:
        load = ["--url", gateway.http, "--count", count]
        subjects = {
            _REPLAY: partial(python, "replay", *load),
            _INVOKE: partial(python, "engine", "invoke", *load),
            _CONTROL: partial(python, "engine", "invoke", *load),
        }
        rounds = interleaved(subjects, plan.rounds)
    control = ratios(rounds, _CONTROL, _INVOKE, "rate")
    rates = ratios(rounds, _REPLAY, _INVOKE, "rate")
    section.figures.append(
        Figure("dead letters/s of a replay, from disk", "x invoke", rates, control, "high", 0.5)
    )
    rows = [
        [name, spread(values(rounds, name, "rate")), spread(values(rounds, name, "cpu"))]
        for name in rounds
    ]
    section.add("Replay", table(("subject", "events/s", "CPU µs/event"), rows))
    return section
