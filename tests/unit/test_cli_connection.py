"""Which gateway, which credentials, which settings: flags, environment, stored login, default."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import pytest

from faas_connector import auth
from faas_connector.cli.connection import (
    Connection,
    GatewayFlags,
    connection,
    impatient,
)
from faas_connector.config import ControllerConfig
from faas_connector.errors import ConfigError
from faas_connector.names import Invocation
from faas_connector.settings.general import general


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def environment_settings(environ: dict[str, str]) -> ControllerConfig:
    return general(environ).settings.config()


def connect(
    home: Path, environ: dict[str, str] | None = None, password: str | None = None, **flags
) -> Connection:
    flags = GatewayFlags(**flags, password_stdin=password is not None)
    return connection(
        flags, environ or {}, home=home, folder=home, read_password=lambda: f"{password}\n"
    )


def headers(connection: Connection) -> dict[str, str]:
    assert isinstance(connection.config.auth, auth.BasicAuth | auth.BearerToken)
    return dict(connection.config.auth.headers())


def basic(user: str, password: str) -> dict[str, str]:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def store_login(home: Path, gateway: str, user: str = "admin", password: str = "stored") -> None:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    (home / ".openfaas").mkdir()
    (home / ".openfaas" / "config.yml").write_text(
        f"auths:\n- gateway: {gateway}\n  auth: basic\n  token: {token}\n"
    )


def test_the_default_gateway(home):
    found = connect(home)
    assert found.config.gateway_url == "http://127.0.0.1:8080"
    assert found.gateway_origin == "the default"
    assert found.config.auth is None
    assert found.auth_origin is None


@pytest.mark.parametrize(
    ("flag", "environ", "url", "origin"),
    [
        ("http://a", {"OPENFAAS_URL": "http://b", "gateway_url": "http://c"}, "http://a", "--gat"),
        (None, {"OPENFAAS_URL": "http://b", "gateway_url": "http://c"}, "http://b", "$OPENFAAS_"),
        (None, {"gateway_url": "http://c"}, "http://c", "$gateway_url"),
        (None, {"OPENFAAS_URL": "", "gateway_url": "http://c"}, "http://c", "$gateway_url"),
        ("https://a/of/", {}, "https://a/of", "--gateway"),
    ],
)
def test_where_the_address_comes_from(home, flag, environ, url, origin):
    found = connect(home, environ, gateway=flag)
    assert found.config.gateway_url == url
    assert found.gateway_origin.startswith(origin)


@pytest.mark.parametrize(
    ("flags", "environ", "parts"),
    [
        ({"gateway": "gateway:8080"}, {}, ["--gateway", "'gateway:8080'", "http://127.0.0.1:8080"]),
        ({"gateway": ""}, {"OPENFAAS_URL": "http://b"}, ["--gateway", "got ''"]),
        ({}, {"OPENFAAS_URL": "http://"}, ["$OPENFAAS_URL", "has no host", "'http://'"]),
        ({"gateway": "http://u:secret@a"}, {}, ["--gateway", "--password-file"]),
        ({"username": "eve"}, {}, ["--username", "--password-stdin"]),
        ({"token": "t", "username": "eve"}, {}, ["--token", "alone"]),
        ({"password": "a", "password_file": "b"}, {}, ["one password"]),
        ({"password": ""}, {}, ["--password-stdin", "empty"]),
        ({"password_file": "/nowhere/password"}, {}, ["/nowhere/password", "No such file"]),
        ({"gateway": "https://a", "ca_file": "/nowhere.pem"}, {}, ["--ca-file", "No such file"]),
        ({"gateway": "https://a", "ca_file": __file__}, {}, ["--ca-file", "no PEM certificates"]),
        ({"namespaces": (" ",)}, {}, ["namespaces", "'openfaas-fn'"]),
        ({}, {"basic_auth": "true"}, ["secret_mount_path", "/var/secrets/gateway"]),
    ],
)
def test_what_can_not_work_is_one_clear_line(home, flags, environ, parts):
    with pytest.raises(ConfigError) as caught:
        connect(home, environ, **flags)
    text = str(caught.value)
    assert "\n" not in text
    assert "secret@" not in text
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("name", "value", "example"),
    [
        ("rebuild_interval", "30", "'30s'"),
        ("rebuild_interval", "soon", "'30s'"),
        ("upstream_timeout", "-1m", "'1m30s'"),
        ("upstream_timeout", "0", "'30s'"),
        ("asynchronous_invocation", "maybe", "'true'"),
    ],
)
def test_a_bad_value_in_the_environment_names_variable_value_and_example(name, value, example):
    with pytest.raises(ConfigError) as caught:
        environment_settings({name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert example in str(caught.value)


def test_the_environment_of_the_go_connectors():
    config = environment_settings(
        {
            "rebuild_interval": "1m30s",
            "upstream_timeout": "250ms",
            "topic_delimiter": "",
            "content_type": "application/json",
            "asynchronous_invocation": "true",
        }
    )
    assert config.rebuild_interval == 90.0
    assert config.timeouts.call == 0.25
    assert config.topic_delimiter == ""
    assert config.content_type == "application/json"
    assert config.invocation is Invocation.ASYNC


def test_empty_variables_count_as_not_set():
    names = ("rebuild_interval", "upstream_timeout", "content_type", "asynchronous_invocation")
    assert environment_settings(dict.fromkeys(names, "")) == environment_settings({})


def test_credentials_by_flags_go_before_all_others(home, tmp_path):
    store_login(home, "http://127.0.0.1:8080")
    for name, text in (("basic-auth-user", "env"), ("basic-auth-password", "env"), ("file", "f")):
        (tmp_path / name).write_text(f"{text}\n")
    environ = {"basic_auth": "true", "secret_mount_path": str(tmp_path)}
    file = str(tmp_path / "file")

    assert headers(connect(home, environ, password="p")) == basic("admin", "p")
    assert headers(connect(home, environ, username="eve", password="p")) == basic("eve", "p")
    assert headers(connect(home, environ, password_file=file)) == basic("admin", "f")
    assert headers(connect(home, environ, token="t")) == {"Authorization": "Bearer t"}
    assert headers(connect(home, environ, token=f"@{file}")) == {"Authorization": "Bearer f"}
    assert headers(connect(home, environ)) == basic("env", "env")
    assert headers(connect(home)) == basic("admin", "stored")


def test_credentials_say_where_they_were_found(home):
    store_login(home, "http://127.0.0.1:8080")
    assert str(home / ".openfaas" / "config.yml") in str(connect(home).auth_origin)
    assert connect(home, password="p").auth_origin == "--password-stdin"


def test_a_stored_login_is_for_its_own_gateway_only(home):
    store_login(home, "http://other.example:8080")
    assert connect(home).config.auth is None
    found = connect(home, gateway="http://OTHER.example:8080/")
    assert headers(found) == basic("admin", "stored")


def test_namespaces(home):
    assert connect(home).config.namespaces is None
    assert connect(home, namespaces=("a", "team-*")).config.namespace_patterns == ("a", "team-*")


def test_tls_flags_count_for_https_only(home):
    assert connect(home, tls_no_verify=True).config.tls is None
    context = connect(home, gateway="https://a", tls_no_verify=True).config.tls
    assert context is not None
    assert context.verify_mode is ssl.CERT_NONE
    assert connect(home, gateway="https://a").config.tls is None


def test_a_command_that_asks_once_gives_up_early(home):
    config = impatient(connect(home, {"upstream_timeout": "3m"}).config)
    assert max(config.startup_timeout, config.timeouts.connect, config.timeouts.system) < 5
    assert config.timeouts.call == 180.0
