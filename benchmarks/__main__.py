"""Runs the benchmarks, prints what they found, and fails where a floor doesn't hold."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from benchmarks import (
    bench_local_gateway,
    engine,
    invoke,
    journal,
    kafka,
    nats,
    others,
    rabbitmq,
    replay,
    webhook,
)
from benchmarks.figures import FIGURE_HEAD, table
from benchmarks.picture import PICTURE, draw
from benchmarks.plan import Plan, Section
from benchmarks.processes import ChildError, build_go

BENCHMARKS: dict[str, Callable[[Plan], Section]] = {
    "invoke": invoke.run,
    "refresh": others.refresh,
    "match": others.match,
    "memory": others.memory,
    "start": others.start,
    "local": bench_local_gateway.run,
    "engine": engine.run,
    "journal": journal.run,
    "replay": replay.run,
    "webhook": webhook.run,
    "kafka": kafka.run,
    "rabbitmq": rabbitmq.run,
    "nats": nats.core,
    "jetstream": nats.stream,
}
# What a quick run measures: the rest needs brokers, or takes long.
QUICK = ("invoke", "refresh", "match", "memory", "start")
_RESULTS = Path(__file__).parent / "RESULTS.md"
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    """Run; 1 when a figure misses what it must reach, or a benchmark fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="the hot path only, in fewer rounds")
    parser.add_argument("--rounds", type=int, help="default 7, with --quick 3")
    parser.add_argument("--seconds", type=float, help="per client and round; 1.0, with --quick 0.5")
    parser.add_argument(
        "--write", action="store_true", help="put the results into RESULTS.md, and draw them"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            plan = Plan(
                options.quick,
                options.rounds or (3 if options.quick else 7),
                options.seconds or (0.5 if options.quick else 1.0),
                build_go(folder),
                shutil.which("wrk") is not None,
            )
            found = _run(plan, options.names or list(QUICK if plan.quick else BENCHMARKS))
        except ChildError as error:
            print(error, file=sys.stderr)
            return 1
    machine = _machine(plan)
    took = f"{plan.rounds} rounds of {plan.seconds:g} s; took {time.monotonic() - begun:.0f} s"
    report = f"{machine}; {took}.\n\n{_figures(found)}"
    print(report)
    if options.write:
        _write(report, found)
        if found.lines:
            draw(found.lines, f"64 in flight, 1 KB; {machine}; {plan.rounds} rounds")
            print(f"drawn: {PICTURE.relative_to(Path.cwd())}")
    return 1 if any(figure.verdict == "FAILS" for figure in found.figures) else 0


def _run(plan: Plan, names: list[str]) -> Section:
    if plan.go is None:
        print("no Go here, so nothing is compared with it; install Go 1.21 or later", flush=True)
    if not plan.has_wrk and "invoke" in names:
        print("no wrk here; install it with: apt-get install wrk", flush=True)
    found = Section()
    for name in names:
        section = BENCHMARKS[name](plan)
        found.figures += section.figures
        found.details += section.details
        found.lines += section.lines
        print(f"{name}: done", flush=True)
    return found


def _machine(plan: Plan) -> str:
    go = (
        subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False)
        if plan.go
        else None
    )
    return ", ".join(
        [
            f"{os.cpu_count()} cores ({platform.machine()})",
            f"{platform.system()} {platform.release().split('-')[0]}",
            f"Python {platform.python_version()}",
            f"uvloop {uvloop.__version__}",
            go.stdout.strip() if go else "no Go",
        ]
    )


def _figures(found: Section) -> str:
    return table(FIGURE_HEAD, [figure.row() for figure in found.figures])


def _write(report: str, found: Section) -> None:
    before, _, rest = _RESULTS.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    details = "\n\n".join(found.details)
    _RESULTS.write_text(f"{before}{_BEGIN}\n{report}\n\n{details}\n{_END}{after}")


if __name__ == "__main__":
    sys.exit(main())
