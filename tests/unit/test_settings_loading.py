"""A file, the environment and flags, made into sources and settings."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faas_connector.cli.connection import GatewayFlags
from faas_connector.cli.connector import Plan, connector_of
from faas_connector.config import OnFailure
from faas_connector.errors import ConfigError
from faas_connector.names import Invocation
from faas_connector.settings.file import read_file
from faas_connector.settings.loading import Given, SettingsError
from faas_connector.sources.timer import TimerSource

FILE = """
version: 1
gateway: {url: "http://file:8080/", username: eve, password: "${PASSWORD:-hush}"}
namespaces: [staging, team-*]
topics: {matcher: glob, rebuild_interval: 7s}
defaults:
  mode: async
  timeout: 20s
  content_type: application/json
  on_failure: drop
  retry: {attempts: 3, backoff: equal, codes: [429, 503]}
timeouts: {connect: 1s}
limits: {max_in_flight: 5, max_unsettled_bytes: 1MiB}
state: {folder: /var/lib/c, wait: 0s}
log: {format: json}
sources:
- timer: {topic: a}
- name: second
  namespaces: [team-a]
  as_cloudevents: true
  timer: {topic: b, interval: 1m30s}
- {name: third, timer: }
"""


def plan(
    tmp_path: Path, text: str = FILE, environ=None, gateway: GatewayFlags | None = None, **given
) -> Plan:
    environ = environ or {}
    if text:
        (tmp_path / "c.yaml").write_text(text)
        given["file"] = read_file(tmp_path / "c.yaml", environ)
    return connector_of(gateway or GatewayFlags(), Given(environ=environ, **given))


def refused(tmp_path: Path, text: str, environ=None, **given) -> str:
    with pytest.raises(ConfigError) as failure:
        plan(tmp_path, text, environ, **given)
    return str(failure.value).replace(f"{tmp_path}/", "")


def test_everything_that_a_file_says_holds(tmp_path):
    made = plan(tmp_path)
    config = made.config
    assert config.gateway_url == "http://file:8080"
    assert made.connection.gateway_origin == f"{tmp_path}/c.yaml:3"
    assert config.auth is not None
    assert config.auth.headers()["Authorization"] == "Basic ZXZlOmh1c2g="
    assert config.namespaces == ("staging", "team-*")
    assert (config.matcher.name, config.rebuild_interval) == ("glob", 7.0)
    assert (config.invocation, config.timeouts.call) == (Invocation.ASYNC, 20.0)
    assert (config.content_type, config.on_failure) == ("application/json", OnFailure.DROP)
    assert (config.retry.attempts, config.retry.codes) == (3, {429, 503})
    assert (config.retry.max_wait, config.timeouts.connect) == (30.0, 1.0)
    assert (config.limits.max_in_flight, config.limits.max_unsettled_bytes) == (5, 2**20)
    state = made.loaded.settings.state
    assert (state.folder, state.wait) == ("/var/lib/c", 0.0)
    assert [each.source for each in made.loaded.sources] == [
        TimerSource(topic="a"),
        TimerSource(name="second", topic="b", interval=90.0),
        TimerSource(name="third"),
    ]
    second = made.loaded.sources[1].runnable
    assert (second.namespaces, second.cloudevents) == (("team-a",), True)


def test_the_environment_wins_over_the_file_and_flags_over_both(tmp_path):
    environ = {
        "gateway_url": "http://environment:8080",
        "upstream_timeout": "30s",
        "asynchronous_invocation": "false",
        "FAAS_CONNECTOR_MAX_IN_FLIGHT": "6",
        "FAAS_CONNECTOR_SECOND_TOPIC": "environment",
        "FAAS_CONNECTOR_SECOND_AS_CLOUDEVENTS": "false",
        "FAAS_CONNECTOR_NAMESPACES": "c,d",
    }
    made = plan(tmp_path, environ=environ, flags={"max-in-flight": "7", "matcher": "mqtt"})
    config = made.config
    assert config.gateway_url == "http://environment:8080"
    assert (config.timeouts.call, config.invocation) == (30.0, Invocation.SYNC)
    assert (config.limits.max_in_flight, config.matcher.name) == (7, "mqtt")
    assert config.namespaces == ("c", "d")
    topics = [each.source.topic for each in made.loaded.sources]
    assert topics == ["a", "environment", "payment.received"]
    assert not made.loaded.sources[1].runnable.cloudevents
    flags = GatewayFlags(gateway="http://flag:8080", namespaces=("e",))
    config = plan(tmp_path, environ=environ, gateway=flags).config
    assert (config.gateway_url, config.namespaces) == ("http://flag:8080", ("e",))


def test_credentials_of_the_environment_win_over_those_of_the_file(tmp_path):
    for name in ("user", "password"):
        (tmp_path / f"basic-auth-{name}").write_text("admin")
    environ = {"basic_auth": "true", "secret_mount_path": str(tmp_path)}
    assert "$basic_auth" in (plan(tmp_path, environ=environ).connection.auth_origin or "")


def test_secrets_from_files(tmp_path):
    (tmp_path / "token").write_text("tok\n")
    text = (
        f"version: 1\ngateway: {{token_file: {tmp_path / 'token'}}}\nsources: [{{timer: {{}}}}]\n"
    )
    auth = plan(tmp_path, text).config.auth
    assert auth is not None
    assert auth.headers() == {"Authorization": "Bearer tok"}


def test_one_source_of_the_command_line(tmp_path):
    made = plan(tmp_path, "", kind="timer", name="mine", source_flags={"topic": "x"})
    assert made.loaded.sources[0].source == TimerSource(name="mine", topic="x")
    assert made.config.limits.max_in_flight == 64


def test_one_source_of_a_file_is_chosen_by_kind_and_name(tmp_path):
    made = plan(tmp_path, kind="timer", name="second", source_flags={"topic": "flag"})
    assert [each.source.topic for each in made.loaded.sources] == ["flag"]
    environ = {"FAAS_CONNECTOR_SECOND_TOPIC": "env", "FAAS_CONNECTOR_SECOND_INTERVAL": "2s"}
    made = plan(tmp_path, FILE, environ, kind="timer", name="second", source_flags={"topic": "x"})
    (second,) = made.loaded.sources
    assert (second.source.topic, second.source.interval) == ("x", 2.0)
    assert "choose one with --name" in refused(tmp_path, FILE, kind="timer")


def test_names_of_existing_connectors_hold_for_a_source_that_is_alone(tmp_path):
    text = "version: 1\nsources: [{webhook: {}}]\n"
    (source,) = plan(tmp_path, text, {"topics": "a,b"}).loaded.sources
    assert source.source.topics == ("a", "b")
    two = "version: 1\nsources: [{webhook: {topics: [c]}}, {timer: {}}]\n"
    assert plan(tmp_path, two, {"topics": "a,b"}).loaded.sources[0].source.topics == ("c",)


def test_variables_that_mean_nothing_are_doubted(tmp_path):
    environ = {
        "FAAS_CONNECTOR_SECOND_TOPICC": "x",
        "FAAS_CONNECTOR_SERVICE_HOST": "10.0.0.1",
        "FAAS_CONNECTOR_PORT_80_TCP": "tcp://10.0.0.1:80",
        "FAAS_CONNECTOR_SECOND_TOPIC": "right",
    }
    (warning,) = plan(tmp_path, environ=environ).loaded.warnings
    assert "SECOND_TOPICC means nothing; did you mean FAAS_CONNECTOR_SECOND_TOPIC?" in warning


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("RABBITMQ_USER", "RABBITMQ_BROKER_USER"),
        ("RABBITMQ_PASSWORD_FILE", "RABBITMQ_BROKER_PASSWORD_FILE"),
        ("RABBITMQ_QUEUES", "RABBITMQ_QUEUE"),
        ("RABITMQ_URL", "RABBITMQ_URL"),
        ("STATE_WIAT", "STATE_WAIT"),
    ],
)
def test_a_variable_that_lacks_a_word_is_nearer_than_one_that_ends_otherwise(
    tmp_path, wrong, right
):
    environ = {f"FAAS_CONNECTOR_{wrong}": "x"}
    made = plan(tmp_path, "", environ, kind="rabbitmq", source_flags={"queue": "q"})
    (warning,) = made.loaded.warnings
    assert warning.endswith(f"_{wrong} means nothing; did you mean FAAS_CONNECTOR_{right}?")


def test_what_existing_connectors_know_and_we_do_not_is_said(tmp_path):
    (warning,) = plan(tmp_path, environ={"system_issuer": "https://x"}).loaded.warnings
    assert warning.startswith("the variable system_issuer means nothing here: tokens are not")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# empty", "c.yaml: the file must say 'version: 1', the only one there is"),
        ("version: 2\n", "c.yaml:1: the file must say 'version: 1'"),
        ("version: 1\n", "c.yaml:1: sources must be a list; for example sources: [{timer:"),
        ("version: 1\nsources: {timer: }\n", "c.yaml:2: sources must be a list; for example"),
        ("version: 1\nsources: []\n", "c.yaml:2: sources is empty; name at least one, for example"),
        ("version: 1\nsources:\n", "c.yaml:2: sources is empty; name at least one, for example"),
        (
            "version: 1\ndefaults: {retry: {attemps: 1}}\n",
            "c.yaml:2: defaults.retry has no 'attemps'; did you mean 'attempts'?",
        ),
        ("version: 1\nlimits: 4\n", "c.yaml:2: limits must be a map, got '4'; for example"),
        ("version: 1\nsource: []\n", "c.yaml:2: the file has no 'source'; did you mean 'sources'?"),
        (
            "version: 1\ngatway: {}\n",
            "'gatway'; did you mean 'gateway'?, for example: gateway: {url: http://gateway.open",
        ),
        ("version: 1\nsources: [{}]\n", "c.yaml:2: a source needs one kind, got none; for example"),
        ("version: 1\nsources: [{timr: {}}]\n", "a source has no 'timr'; did you mean 'timer'?"),
        (
            "version: 1\nsources:\n- {timer: {}}\n- {timer: {}}\n",
            "c.yaml:4: 2 sources are called 'timer'; give each a name of its own, for example",
        ),
        ("version: 1\nsources: [{name: a b, timer: {}}]\n", "c.yaml:2: a source's name must be of"),
        (
            "version: 1\nsources:\n- timer:\n    topic: ${TOPIC}\n",
            "c.yaml:4: the variable TOPIC is not set; set it, or give a default: ${TOPIC:-default}",
        ),
        (
            "version: 1\nsources: [{timer: {topic: '${a b}'}}]\n",
            "c.yaml:2: '${a b}' is no variable",
        ),
        (
            "version: 1\ndefaults:\n  retry:\n    attempts: 0\nsources: [{timer: {}}]\n",
            "c.yaml:4: retry.attempts must be a whole number, 1 or more, got 0",
        ),
        (
            "version: 1\ndefaults: {callback_url: ftp://x}\nsources: [{timer: {}}]\n",
            "c.yaml:2: ",
        ),
        (
            "version: 1\ngateway: {username: eve}\nsources: [{timer: {}}]\n",
            "c.yaml:2: gateway.username needs a password",
        ),
        (
            "version: 1\ngateway: {token: t, password: p}\nsources: [{timer: {}}]\n",
            "c.yaml:2: gateway.token goes alone",
        ),
        (
            "version: 1\ngateway: {password_file: /no/such}\nsources: [{timer: {}}]\n",
            "c.yaml:2: gateway.password_file: the secret /no/such can't be read",
        ),
        (
            "version: 1\nsources:\n- webhook: {topics: [a]}\n  durable: true\n",
            "c.yaml:4: durable is an option of webhook; write it below 'webhook:'",
        ),
        ("version: 1\nsources:\n\t- timer: {}\n", "c.yaml:3: no YAML: "),
        (
            "version: 1\nsources: [{cron: {schedules: daily}}]\n",
            "got 'daily'; for example\n{key: value}",
        ),
        (
            "version: 1\nsources: [{kafka: {topics: [a]}}]\n",
            "kafka needs brokers: --brokers kafka:9092, $FAAS_CONNECTOR_KAFKA_BROKERS, or in the",
        ),
        (
            "provider: {name: openfaas}\nfunctions: {a: {}}\n",
            "c.yaml is a stack file of faas-cli, which lists functions, not sources; lint it with",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_the_mistakes_of_each_source_are_found(tmp_path):
    text = "version: 1\nlimit: {}\nsources:\n- timer: {a: 1}\n- {name: b, timer: {interval: 1}}\n"
    with pytest.raises(SettingsError) as failure:
        plan(tmp_path, text)
    assert len(failure.value.mistakes) == 3
    assert "(and 2 more; see them all with: faas-connector check -f" in str(failure.value)


def test_a_literal_dollar_and_an_empty_default(tmp_path):
    text = "version: 1\nadmin: ${ADMIN:-}\nsources: [{timer: {topic: '$${a}-${B:-b}-${C}'}}]\n"
    made = plan(tmp_path, text, {"C": "c: #"})
    assert made.loaded.sources[0].source.topic == "${a}-b-c: #"
    assert made.loaded.settings.admin is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gateway: {password: ${NOPE}}", 1),
        ("gateway: {\n  username: eve,\n  password: a-${NOPE},\n}", 3),
        ("namespaces: [${NOPE}, b]", 1),
    ],
)
def test_a_variable_that_lacks_its_quotes(tmp_path, text, line):
    said = refused(tmp_path, text)
    assert said.startswith(f"c.yaml:{line}: no YAML: ")
    assert said.endswith('; write "${NAME}" in quotes inside {…} and […]')


def test_another_mistake_beside_a_variable(tmp_path):
    assert "; check the indentation" in refused(tmp_path, "a: ${A}\nb: {c: d\ne: ${F}")


def test_the_example_of_a_secret_holds_in_a_short_form_too(tmp_path):
    said = refused(tmp_path, "version: 1\ngateway: {passwort: x}\nsources: [{timer: }]\n")
    example = said.partition("for example: ")[2]
    text = f"version: 1\ngateway: {{{example}}}\nsources: [{{timer: }}]\n"
    auth = plan(tmp_path, text, {"GATEWAY_PASSWORD": "hush"}).config.auth
    assert auth is not None
    assert auth.headers()["Authorization"] == "Basic YWRtaW46aHVzaA=="


def test_no_secret_stands_in_an_error(tmp_path):
    text = "version: 1\ngateway: {password: {a: s3cret}}\nsources: [{timer: {}}]\n"
    assert "s3cret" not in refused(tmp_path, text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, len(FILE)),
    length=st.integers(0, 20),
    text=st.text(alphabet="abz019 \n\t:-{}[],&*!|>'\"%@`#?~$<", max_size=12),
)
def test_a_damaged_file_is_read_or_refused(tmp_path, at, length, text):
    with contextlib.suppress(ConfigError):
        plan(tmp_path, "#\n" + FILE[:at] + text + FILE[at + length :])
