"""The login that faas-cli stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from faas_connector.cli.login import login_path, stored_gateways, stored_login
from faas_connector.errors import ConfigError

HOME, FOLDER = Path("/home/eve"), Path("/folder")


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/home/eve/.openfaas/config.yml"),
        ({"CI": "yes"}, "/home/eve/.openfaas/config.yml"),
        ({"CI": "true"}, "/folder/.openfaas/config.yml"),
        ({"CI": "1"}, "/folder/.openfaas/config.yml"),
        ({"CI": "1", "OPENFAAS_CONFIG": "/etc/of"}, "/etc/of/config.yml"),
        ({"OPENFAAS_CONFIG": "logins"}, "/folder/logins/config.yml"),
        ({"OPENFAAS_CONFIG": "~/of"}, "/home/eve/of/config.yml"),
        ({"OPENFAAS_CONFIG": ""}, "/home/eve/.openfaas/config.yml"),
    ],
)
def test_where_faas_cli_keeps_its_logins(environ, path):
    assert login_path(environ, HOME, FOLDER) == Path(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config.yml"


def test_no_file_is_no_login(path):
    assert stored_login("http://a", path) is None
    assert stored_gateways(path) == ()


@pytest.mark.parametrize("text", ["", "auths: []\n", "auths:\n", "[]", "auths: [null, 3]\n"])
def test_files_without_a_login(path, text):
    path.write_text(text)
    assert stored_login("http://a", path) is None


@pytest.mark.parametrize("gateway", ["http://a.example:8080", "http://A.example:8080/"])
def test_basic_credentials(path, gateway):
    # What `faas-cli login` of version 0.18 writes.
    path.write_text(
        "auths:\n  - gateway: http://b\n    auth: basic\n    token: eDp5\n"
        "  - gateway: http://a.example:8080\n    auth: basic\n    token: YWRtaW46YTpi\n"
        "    options: []\n"
    )
    login = stored_login(gateway, path)
    assert login is not None
    assert login.headers() == {"Authorization": "Basic YWRtaW46YTpi"}
    assert stored_gateways(path) == ("http://b", "http://a.example:8080")


def test_a_token(path):
    path.write_text("auths:\n- gateway: https://a\n  auth: oauth2\n  token: eyJh\n")
    login = stored_login("https://a", path)
    assert login is not None
    assert login.headers() == {"Authorization": "Bearer eyJh"}


def test_an_entry_without_a_token_is_no_login(path):
    path.write_text("auths:\n- gateway: https://a\n  auth: oauth2\n")
    assert stored_login("https://a", path) is None


@pytest.mark.parametrize("token", ["%%%", "YWRtaW4=", "Og==", "/w=="])
def test_a_damaged_entry_says_how_to_mend_it(path, token):
    path.write_text(f"auths:\n- gateway: http://a\n  auth: basic\n  token: '{token}'\n")
    with pytest.raises(ConfigError, match=r"http://a .* is damaged; .* faas-cli login -g http://a"):
        stored_login("http://a", path)


def test_a_file_that_is_no_yaml(path):
    path.write_text("auths: [\n")
    with pytest.raises(ConfigError, match=r"config\.yml \(no YAML\); .*faas-cli login"):
        stored_login("http://a", path)


def test_a_file_that_can_not_be_read(path):
    path.mkdir()
    with pytest.raises(ConfigError, match=r"config\.yml \(Is a directory\)"):
        stored_login("http://a", path)
