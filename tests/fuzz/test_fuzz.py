"""A short run of each fuzzer; `FUZZ_SECONDS` makes it longer or shorter."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

GUIDED = find_spec("atheris") is not None


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("fuzzer", "options", "seconds"),
    [
        ("fuzz_http1", [], "45"),
        ("fuzz_http1", ["--plain"], "15"),
        ("fuzz_gateway", [], "10"),
    ],
    ids=["http1", "http1-plain", "gateway"],
)
def test_no_bytes_break(fuzzer: str, options: list[str], seconds: str, tmp_path: Path) -> None:
    if not GUIDED and not options:
        lack = "atheris fuzzes; install it with: pip install atheris"
        if os.environ.get("CI"):
            pytest.fail(lack)
        pytest.skip(lack)
    program = Path(__file__).with_name(f"{fuzzer}.py")
    seconds = os.environ.get("FUZZ_SECONDS", seconds)
    done = subprocess.run(
        [sys.executable, str(program), "--seconds", seconds, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    inputs = [file.read_bytes().hex() for file in tmp_path.glob("crash-*")]
    assert done.returncode == 0, f"{done.stderr[-3000:]}\ninput (hex): {inputs}"
