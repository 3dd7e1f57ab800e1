"""Fixtures of commands and Python functions."""

import pytest


@pytest.fixture
def log() -> list[str]:
    return []
