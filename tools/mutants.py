"""Put mistakes into a copy of the engine, one at a time: its tests have to find each of them.

python tools/mutants.py            # all
python tools/mutants.py order gap  # those with all of these words in their names
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
ENGINE = "src/faas_connector/"
COPIED = ("src", "tests/conftest.py", "tests/__init__.py", "tests/engine", "pyproject.toml")
PYTEST = ("-m", "pytest", "-x", "-q", "-m", "not soak", "-p", "no:randomly", "tests/engine")
FOUND, PASSED = 1, 0  # exit statuses of pytest; others are no verdict


class Mutant(NamedTuple):
    """A mistake: a piece of a file that stands there once, and what takes its place."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "a redelivery of what runs starts calls", "dispatcher.py",
        "if running is not None:", "if False:",
    ),
    Mutant(
        "a redelivery repeats what the store knows to be done", "dispatcher.py",
        "functions = tuple(function for function in functions if function not in known)", "pass",
    ),
    Mutant(
        "a success is repeated after its session was lost", "dispatcher.py",
        "if self.settler.was_finished(key):", "if False:",
    ),
    Mutant(
        "acknowledged before all verdicts are safe", "dispatcher.py",
        "elif not await self._deliver_to_all(tracked):",
        "elif await tracked.delivery.ack() or not await self._deliver_to_all(tracked):",
    ),
    Mutant(
        "acknowledged before what failed is parked", "keeping.py",
        "[pending.entry_id] = await self._keeper.write([entry])\n        pending.kept_calls",
        "pending.kept_calls",
    ),
    Mutant(
        "acknowledged at its deadline though nothing was kept", "leaving.py",
        "if not tracked.open:\n            return", "if False:\n            return",
    ),
    Mutant(
        "acknowledged by position across a gap", "frontier.py",
        "while self._finished and self._finished[first := next(iter(self._finished))]:",
        "while self._finished and (first := next(iter(self._finished))):",
    ),
    Mutant(
        "settled twice", "settling.py",
        "        if tracked.is_told:\n            self._release(tracked)\n"
        "            return True\n",
        "",
    ),
    Mutant(
        "a failure lets the next call in before it is judged", "invoker.py",
        "self._loop.call_soon(self.limiter.leave, call.function)",
        "self.limiter.leave(call.function)",
    ),
    Mutant(
        "what was just journalled counts as ended", "dispatcher.py",
        "events[:] = [tracked for tracked, entry_id in results if entry_id is None]",
        "pass",
    ),
    Mutant(
        "a stop forgets what waits behind an acknowledgement that hangs", "settling.py",
        "await self._come_again(events[done:])", "pass",
    ),
    Mutant(
        "the entries of what is done with stay", "dispatcher.py",
        "await self.settler.end(events)", "pass",
    ),
    Mutant(
        "a call goes on though its run has ended", "carrying.py",
        "call.give_up()", "pass",
    ),
    Mutant(
        "an answer that has come is lost at the end of its run", "carrying.py",
        "if call is not None and call.has_ended:", "if False:",
    ),
    Mutant(
        "what waits for its turn is not parked at its deadline", "leaving.py",
        "tracked.turn.pending()", "pass",
    ),
    Mutant(
        "what a namespace or a refresh has just lost is acked as unmatched", "audience.py",
        "Unmatched.HOLD or self._may_be_wanted(tracked)",
        "Unmatched.HOLD",
    ),
    Mutant(
        "missing functions don't count", "audience.py",
        "contracts += missing", "pass",
    ),
    Mutant(
        "attempts are not charged", "pursuit.py",
        "pending.attempts += 1", "pass",
    ),
    Mutant(
        "an outage is charged to the function", "pursuit.py",
        "if outcome.may_be_outage and not await self._gate.gateway_is_well():", "if False:",
    ),
    Mutant(
        "Retry-After is ignored", "retry.py",
        "wait = outcome.retry_after or self.wait(", "wait = self.wait(",
    ),
    Mutant(
        "waits do not grow", "retry.py",
        "self.min_wait * 2.0 ** min(attempt - 1, 1000)", "self.min_wait",
    ),
    Mutant(
        "a probe undercuts what an event has to wait", "parking.py",
        "partial(store.due, self._clock(), limit=1, held=held, only=function)",
        "partial(store.due, float('inf'), limit=1, held=held, only=function)",
    ),
    Mutant(
        "key order is forgotten after a park", "key_order.py",
        "return bool(self._counts) and", "return False and",
    ),
    Mutant(
        "what was parked too early at its deadline stays ahead", "dispatcher.py",
        "await self.keeping.park_anew(tracked, pending)", "pass",
    ),
    Mutant(
        "nobody waits for a turn", "key_order.py",
        "if self._ahead is None:\n            return 0", "return 0",
    ),
    Mutant(
        "the rest is not handed back when a drain is over", "leaving.py",
        "await self._give_back(tracked)", "pass",
    ),
    Mutant(
        "verdicts that are being written when a drain is over are lost", "leaving.py",
        "await intake.writes()", "pass",
    ),
    Mutant(
        "events of different stores have calls of the same name", "entries.py",
        "{store.identity}/", "",
    ),
    Mutant(
        "max_in_flight is ignored", "limiter.py",
        "if not self._free or running >= concurrency:", "if running >= concurrency:",
    ),
    Mutant(
        "a function's concurrency is ignored", "limiter.py",
        "if not self._free or running >= concurrency:", "if not self._free:",
    ),
    Mutant(
        "max_unsettled is ignored", "supervisor.py",
        "if not intake.has_room:", "if False:",
    ),
    Mutant(
        "a sick function is never paused", "health.py",
        "failures >= _FAILURES_BEFORE_PAUSE", "False",
    ),
    Mutant(
        "a store that fails is believed", "keeper.py",
        "self.failed(error, writing=writes)\n                await asyncio.sleep(_WAIT)",
        "return []",
    ),
    Mutant(
        "reading goes on while the store fails", "supervisor.py",
        "if self._keeper is not None and not self._keeper.works:", "if False:",
    ),
    Mutant(
        "a store that can only be read counts as working", "keeper.py",
        "(writes or not self._refused_writes)", "True",
    ),
    Mutant(
        "a paused function is called for what is new", "pursuit.py",
        "if self._health.is_paused(function) and not pending.is_probe:", "if False:",
    ),
    Mutant(
        "several probes of a function run at a time", "parking.py",
        "if function in self._probes:", "if False:",
    ),
    Mutant(
        "what waits for a place is called though its function is paused", "pursuit.py",
        "if self._obstacle(pending) is not None:\n                    invoker",
        "if False:\n                    invoker",
    ),
    Mutant(
        "what waits when its function is paused holds up its neighbours", "health.py",
        "self.pausing(function).set()", "pass",
    ),
    Mutant(
        "what has to wait long stays in memory", "pursuit.py",
        "return wait > self._park_after or self._obstacle(pending) is not None", "return False",
    ),
    Mutant(
        "a stop waits for a function that vanished", "pursuit.py",
        "is_absent = decision.reason is Reason.ABSENT", "is_absent = False",
    ),
    Mutant(
        "who was not heard of yet counts as gone", "pursuit.py",
        "if not self._builder.may_return(function):",
        "if not self._builder.map.is_missing(function):",
    ),
    Mutant(
        "a function that turns asynchronous loses its policy", "pursuit.py",
        "self._invoker.terms(function, pending.mode).retry.decide(",
        "self._invoker.terms(function).retry.decide(",
    ),
    Mutant(
        "a queue that is not there is a verdict", "pursuit.py",
        "if outcome.kind is Kind.NO_QUEUE:", "if False:",
    ),
    Mutant(
        "reading goes on though there is no queue", "supervisor.py",
        "if self._pursuit.is_without_queue:", "if False:",
    ),
    Mutant(
        "a gateway that is back is noticed late", "gate.py",
        "_INTERVAL = 1.0", "_INTERVAL = 3.0",
    ),
    Mutant(
        "probes of a gateway that hangs pile up", "engine.py",
        "timeout=min(_PROBE_TIMEOUT, config.timeouts.system)", "timeout=1000.0",
    ),
    Mutant(
        "what comes at a stop is nacked in an outage", "leaving.py",
        "if not (intake.by_position or self._gate.is_closed):", "if not intake.by_position:",
    ),
    Mutant(
        "what is held goes before what runs of its key", "leaving.py",
        "if other.tickets and other.event.key == tracked.event.key:", "if False:",
    ),
    Mutant(
        "what is parked acknowledges what is before it", "leaving.py",
        "if not tracked.intake.by_position:  # it", "if True:  # it",
    ),
    Mutant(
        "of what waits in the store of a key only the last is known", "key_order.py",
        "waiting.add(self._parked)", "waiting = {self._parked}",
    ),
    Mutant(
        "a new event overtakes what an earlier run journalled", "engine.py",
        "if store is not None and (await store.counts()).journal:", "if False:",
    ),
    Mutant(
        "a stop forgets when a call that failed may be made again", "keeping.py",
        "puts += self._failed_of(tracked)", "pass",
    ),
    Mutant(
        "a slow function takes all places of parked events", "parking.py",
        "if count > share}", "if False}",
    ),
    Mutant(
        "a probe takes what can't be read again and again", "parking.py",
        "limit=1, held=held, only=function", "limit=1, only=function",
    ),
    Mutant(
        "parked events are begun in a drain", "parking.py",
        "if self._stopping.is_set():\n            return 0", "",
    ),
)  # fmt: skip


def main() -> int:
    words = [word.lower() for word in sys.argv[1:]]
    chosen = [each for each in MUTANTS if all(word in each.name.lower() for word in words)]
    if not chosen:
        print(f"no mutant is called so: {' '.join(words)}", file=sys.stderr)
        return 2
    if not _apply():
        return 2
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        _copy_to(copy)
        if _tests(copy) != PASSED:
            print("the tests fail without any mistake put in", file=sys.stderr)
            return 2
        survivors = [each for each in chosen if not _is_found(copy, each)]
    for each in survivors:
        print(f"survives: {each.name} ({ENGINE}{each.file})", file=sys.stderr)
    return 1 if survivors else 0


def _apply() -> bool:
    """Whether each mistake can be put in still, as it is written here."""
    counts = {mutant: _text(ROOT, mutant).count(mutant.old) for mutant in MUTANTS}
    for mutant, count in counts.items():
        if count != 1:
            print(
                f"{mutant.name}: {ENGINE}{mutant.file} has this {count} times, not once; "
                f"write the mutant anew: {mutant.old!r}",
                file=sys.stderr,
            )
    return set(counts.values()) == {1}


def _copy_to(folder: Path) -> None:
    for name in COPIED:
        origin, copy = ROOT / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, copy, ignore=shutil.ignore_patterns("__pycache__"))
        elif origin.exists():
            shutil.copy(origin, copy)


def _text(root: Path, mutant: Mutant) -> str:
    return (root / ENGINE / mutant.file).read_text("utf-8")


def _is_found(copy: Path, mutant: Mutant) -> bool:
    path, whole = copy / ENGINE / mutant.file, _text(copy, mutant)
    path.write_text(whole.replace(mutant.old, mutant.new), "utf-8")
    begun = time.monotonic()
    status = _tests(copy)
    path.write_text(whole, "utf-8")
    said = {FOUND: "found", PASSED: "NOT FOUND"}.get(
        status, f"no verdict: pytest ended with {status}"
    )
    print(f"{said:<10} in {time.monotonic() - begun:5.1f} s: {mutant.name}", flush=True)
    return status == FOUND


def _tests(copy: Path) -> int:
    """The exit status of the engine's tests, run on the copy."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, *PYTEST], cwd=copy, env=environment, stdout=subprocess.DEVNULL, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
