"""What a source can be told of TLS."""

import ssl
from pathlib import Path

import pytest
import trustme

from faas_connector.errors import ConfigError
from faas_connector.options import settings
from faas_connector.settings.definition import options_of
from faas_connector.settings.sources import RUN_FLAGS
from faas_connector.sources.broker import BrokerSettings, check_login, ssl_context
from faas_connector.sources.checks import check_url


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    issued.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    return folder


def test_nothing_said_is_no_tls():
    assert ssl_context(BrokerSettings(), "nats") is None


@pytest.mark.parametrize(("options", "implied"), [({"tls": True}, False), ({}, True)])
def test_the_broker_must_be_recognised(options, implied):
    context = ssl_context(BrokerSettings(**options), "nats", implied=implied)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_ca_file_is_the_only_authority(files):
    context = ssl_context(BrokerSettings(ca_file=files / "ca.crt"), "nats")
    assert len(context.get_ca_certs()) == 1


def test_it_may_be_told_not_to_look(files):
    context = ssl_context(BrokerSettings(ca_file=files / "ca.crt", tls_verify=False), "nats")
    assert context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("names", [("tls.crt", "tls.key"), ("both.pem", None)])
def test_a_certificate_of_our_own(files, names):
    cert, key = (None if name is None else files / name for name in names)
    assert ssl_context(BrokerSettings(cert_file=cert, key_file=key), "nats")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ca_file": "/nowhere/ca"}, r"nats\.ca_file is /nowhere/ca.*No such file"),
        ({"ca_file": "tls.key"}, r"nats\.ca_file is .*tls\.key.*no such PEM"),
        ({"cert_file": "tls.key"}, r"nats\.cert_file is .*no such PEM"),
        ({"cert_file": "tls.crt", "key_file": "/nowhere"}, r"key_file is .*/nowhere.*No such file"),
        ({"key_file": "tls.key"}, r"no cert_file is given; for example cert_file: "),
    ],
)
def test_a_file_that_cannot_be_used_is_named(files, options, said):
    given = {name: files / text for name, text in options.items()}
    with pytest.raises(ConfigError, match=said) as caught:
        ssl_context(BrokerSettings(**given), "nats")
    assert "\n" not in str(caught.value)


def test_a_source_inherits_the_options_and_their_flags():
    @settings
    class BrokerSource(BrokerSettings):
        name: str = "broker"

    flags = {option.name: option.flag for option in options_of(BrokerSource, but=("name",))}
    assert flags["ca_file"] == "broker-ca-file"
    assert not RUN_FLAGS & set(flags.values())
    assert BrokerSource(ca_file=Path("x")).ca_file == Path("x")


@pytest.mark.parametrize("given", [{"user": "me"}, {"password": "s3cret"}])
def test_a_user_without_a_password_is_told_the_keys_and_the_flags(given):
    with pytest.raises(ConfigError) as caught:
        check_login(BrokerSettings(**given), "kafka")
    said = str(caught.value)
    assert "user: connector with password_file: /" in said
    assert "s3cret" not in said
    flags = {f"--{option.flag}" for option in options_of(BrokerSettings)}
    assert {"--broker-user", "--broker-password-file"} == flags.intersection(said.split())


@pytest.mark.parametrize(
    "url",
    [
        "amqp://rabbitmq:5672/shop",
        "AMQPS://rabbit_mq.team-a.svc.cluster.local.",
        "amqp://[::1]:5672",
        "amqp://[fe80::1%eth0]:5672",
        "amqp://bücher.example/my vhost",
    ],
)
def test_an_address_that_may_be_right(url):
    check_url(url, "rabbitmq.url", ("amqp", "amqps"), "amqp://127.0.0.1:5672")


def refusal_of(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_url(url, "rabbitmq.url", ("amqp", "amqps"), "amqp://127.0.0.1:5672")
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://host", "must begin with amqp:// or amqps://, got 'http://host'"),
        ("", "must begin with amqp:// or amqps://, got ''"),
        ("host:5672", "must begin with amqp:// or amqps://, got 'host:5672'"),
        ("amqp:host", "has no host, got 'amqp:host'"),
        ("amqp://host:99999", "must have a port from 1 to 65535, got 'amqp://host:99999'"),
        ("amqp://host:0", "must have a port from 1 to 65535"),
        ("amqp://host:x", "must have a port from 1 to 65535"),
        ("amqp://rabbit mq:5672", "has a host that can't be one, got 'amqp://rabbit mq:5672'"),
        ("amqp://a..b", "has a host that can't be one, got 'amqp://a..b'"),
        (f"amqp://{'a' * 64}", "has a host that can't be one"),
        ("amqp://a<b", "has a host that can't be one"),
        ("amqp://[::1", "is no URL"),
        ("amqp://host?heartbeat=5", "must have no query and no fragment"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(url, said):
    text = refusal_of(url)
    assert text.startswith(f"rabbitmq.url {said}")
    assert text.endswith("; for example amqp://127.0.0.1:5672")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://u:s3cret@host", "must not hold credentials, got 'amqp://***@host'; use user"),
        ("amqp//u:s3cret@host", "must begin with amqp:// or amqps://, got '***@host'"),
        ("u:s3cret@host", "must begin with amqp:// or amqps://, got '***@host'"),
    ],
)
def test_credentials_in_an_address_are_never_shown(url, said):
    text = refusal_of(url)
    assert said in text
    assert "s3cret" not in text
