"""A short run of the gateway's fuzzer; `FUZZ_SECONDS` makes it longer."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FUZZER = Path(__file__).with_name("fuzz_gateway.py")


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_no_bytes_break_the_gateway(tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        pytest.skip("atheris fuzzes; install it with: pip install atheris")
    seconds = os.environ.get("FUZZ_SECONDS", "10")
    done = subprocess.run(
        [sys.executable, str(FUZZER), "--seconds", seconds],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    inputs = [file.read_bytes().hex() for file in tmp_path.glob("crash-*")]
    assert done.returncode == 0, f"{done.stderr[-3000:]}\ninput (hex): {inputs}"
