"""A short run of each fuzzer; `FUZZ_SECONDS` makes it longer or shorter."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("fuzzer", "seconds"), [("fuzz_http1", "60"), ("fuzz_gateway", "10")])
def test_no_bytes_break(fuzzer: str, seconds: str, tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        pytest.skip("atheris fuzzes; install it with: pip install atheris")
    program = Path(__file__).with_name(f"{fuzzer}.py")
    seconds = os.environ.get("FUZZ_SECONDS", seconds)
    done = subprocess.run(
        [sys.executable, str(program), "--seconds", seconds],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    inputs = [file.read_bytes().hex() for file in tmp_path.glob("crash-*")]
    assert done.returncode == 0, f"{done.stderr[-3000:]}\ninput (hex): {inputs}"
