"""A server that isn't installed is told of; in CI it is a failure."""

import pytest

from servers import base


def test_a_missing_server_is_skipped_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install -y no-such-package"):
        base.binary_of("no-such-package", "no-such-server")


def test_a_missing_server_fails_in_ci(monkeypatch):
    installed = []
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(base, "_install", installed.append)
    with pytest.raises(AssertionError, match="there is no no-such-server"):
        base.binary_of("no-such-package", "no-such-server")
    assert installed == ["no-such-package"]
