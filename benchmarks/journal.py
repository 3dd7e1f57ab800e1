"""How fast events are made safe on disk, beside plain writes of the same bytes."""

from __future__ import annotations

from functools import partial

from benchmarks.figures import Figure, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import python

_JOURNAL, _PLAIN, _CONTROL = "journal", "plain file", "plain file again (control)"
_NOTE = (
    "1,000 events of 1 KB are offered at a time, and each waits until it is on disk. A thread "
    "writes the plain file, too: it appends whatever has gathered, and calls fdatasync."
)


def run(plan: Plan) -> Section:
    """Measure."""
    section = Section()
    load = ["--count", 20_000 if plan.quick else 100_000]
    rounds = interleaved(
        {
            _JOURNAL: partial(python, "journal", "journal", *load),
            _PLAIN: partial(python, "journal", "plain", *load),
            _CONTROL: partial(python, "journal", "plain", *load),
        },
        plan.rounds,
    )
    control = ratios(rounds, _CONTROL, _PLAIN, "rate")
    section.figures += [
        Figure("events/s of the journal, beside plain grouped fsync writes", "x plain",
               ratios(rounds, _JOURNAL, _PLAIN, "rate"), control, "high", 0.5),
        Figure("events per fsync of the journal", "events",
               values(rounds, _JOURNAL, "per_fsync"), [], "high", 20),
    ]  # fmt: skip
    rows = [
        [name, *(spread(values(rounds, name, key)) for key in ("rate", "per_fsync", "cpu"))]
        for name in rounds
    ]
    head = ("subject", "events/s", "events per fsync", "CPU µs/event")
    section.add("Journal", table(head, rows), [_NOTE])
    return section
