"""Fuzzes the HTTP/1.1 parsers, without sockets.

    python tests/fuzz/fuzz_http1.py --seconds 60

What must hold stands in `http1_properties`. With atheris the search is guided by coverage; without
it, or with `--plain`, inputs are random, from a seed that is printed. A failing input is kept as
`crash-…` in the current folder; give it as an argument to run it again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Hashable, Iterator
from importlib.util import find_spec
from pathlib import Path

from http1_cases import compose
from http1_properties import check
from plain_fuzzing import LONGEST, fuzz

PLAIN = "--plain" in sys.argv or find_spec("atheris") is None
if not PLAIN:
    import atheris

with contextlib.ExitStack() as instrumented:
    if not PLAIN:
        instrumented.enter_context(atheris.instrument_imports(include=["faas_connector.gateway"]))
    from faas_connector.gateway import http1


def one_input(data: bytes) -> Hashable:
    return check(compose(data), http1)


def rounds(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=os.environ.get("FUZZ_SECONDS", "60"))
    parser.add_argument("--plain", action="store_true", help="do without atheris")
    parser.add_argument("--seed", type=int, help="of the plain search")
    parser.add_argument("inputs", nargs="*", type=Path, help="run these once instead")
    options = parser.parse_args()
    for path in options.inputs:
        one_input(path.read_bytes())
    if options.inputs:
        return
    if PLAIN:
        seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
        sys.stderr.write(f"--plain --seed {seed}\n")
        tried = fuzz(one_input, random.Random(seed), rounds(options.seconds), Path())
        sys.stderr.write(f"{tried} inputs\n")
        return

    def watched(data: bytes) -> None:
        one_input(data)

    with tempfile.TemporaryDirectory() as corpus:
        limits = [f"-max_total_time={options.seconds}", f"-max_len={LONGEST}", "-len_control=0"]
        atheris.Setup([sys.argv[0], corpus, *limits, "-print_final_stats=1"], watched)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
