"""Settings: safe defaults, and one clear error for each thing that can't work."""

import dataclasses
import inspect
import math
import operator
import ssl
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector._version import __version__
from faas_connector.auth import BasicAuth, BearerToken
from faas_connector.config import ControllerConfig, Limits, OnFailure, Timeouts, Unmatched
from faas_connector.errors import ConfigError, ConnectorError
from faas_connector.matching import TopicMatcher
from faas_connector.names import Invocation
from faas_connector.retry import RetryPolicy

NO_NUMBERS = [0, -1, -0.5, math.nan, -math.inf, "5", "5s", None, True, [5.0]]
SECONDS_LIMITS = ("max_wait", "max_timeout")
WHOLE_LIMITS = [each for each in dataclasses.fields(Limits) if each.name not in SECONDS_LIMITS]


def refusal(kind, **options):
    with pytest.raises(ConfigError) as caught:
        kind(**options)
    message = str(caught.value)
    assert message.isprintable(), "one line, whatever was given"
    return message


class TestDefaults:
    def test_of_the_controller(self):
        config = ControllerConfig()
        assert config.gateway_url == "http://127.0.0.1:8080"
        assert config.rebuild_interval == 30.0
        assert config.startup_timeout == 10.0
        assert config.forget_after == 120.0
        assert config.topic_delimiter == ","
        assert config.topic_matcher is TopicMatcher.EXACT
        assert config.invocation is Invocation.SYNC
        assert config.content_type == "text/plain"
        assert config.user_agent == f"faas-connector/{__version__}"
        assert config.send_topic is True
        assert (
            config.connector
            is config.auth
            is config.tls
            is config.namespaces
            is config.callback_url
            is None
        )

    def test_of_a_run(self):
        config = ControllerConfig()
        assert config.retry == RetryPolicy()
        assert config.park_after == 5.0
        assert config.unmatched is Unmatched.ACK
        assert config.on_failure is OnFailure.KEEP

    def test_of_timeouts_and_limits(self):
        assert dataclasses.asdict(Timeouts()) == {
            "connect": 5.0,
            "call": 60.0,
            "read": None,
            "system": 10.0,
            "cold_start": 120.0,
            "drain": None,
            "subscribers": 10.0,
        }
        assert dataclasses.asdict(Limits()) == {
            "max_in_flight": 64,
            "max_unsettled": 1000,
            "max_unsettled_bytes": 64 * 1024 * 1024,
            "concurrency": None,
            "max_concurrency": None,
            "max_attempts": None,
            "max_wait": None,
            "max_timeout": None,
            "max_response_bytes": 1024 * 1024,
            "subscriber_items": 1000,
            "subscriber_bytes": 64 * 1024 * 1024,
        }
        assert ControllerConfig().timeouts == Timeouts()
        assert ControllerConfig().limits == Limits()

    @pytest.mark.parametrize("kind", [ControllerConfig, Timeouts, Limits])
    def test_settings_are_values(self, kind):
        assert kind() == kind()
        assert hash(kind()) == hash(kind())
        field = dataclasses.fields(kind)[0].name
        with pytest.raises(FrozenInstanceError):
            setattr(kind(), field, 1)
        with pytest.raises((AttributeError, TypeError)):
            kind().unknown = 1

    @pytest.mark.parametrize("kind", [ControllerConfig, Timeouts, Limits])
    def test_help_shows_the_options(self, kind):
        parameters = list(inspect.signature(kind).parameters)
        assert parameters == [field.name for field in dataclasses.fields(kind)]
        assert kind.__doc__

    def test_one_option_can_be_replaced(self):
        config = ControllerConfig(namespaces="dev", topic_matcher="mqtt")
        changed = dataclasses.replace(config, rebuild_interval=5)
        assert changed.rebuild_interval == 5
        assert dataclasses.replace(changed, rebuild_interval=30.0) == config


class TestNumbers:
    @pytest.mark.parametrize("value", NO_NUMBERS)
    @pytest.mark.parametrize(
        "name", ["rebuild_interval", "startup_timeout", "forget_after", "park_after"]
    )
    def test_seconds_of_the_controller(self, name, value):
        example = getattr(ControllerConfig(), name)
        assert refusal(ControllerConfig, **{name: value}) == (
            f"{name} must be a number above 0, got {value!r}; for example {example}"
        )

    @pytest.mark.parametrize("value", NO_NUMBERS)
    @pytest.mark.parametrize(
        ("name", "example"),
        [
            ("connect", "5.0"),
            ("call", "60.0"),
            ("read", "30.0"),
            ("system", "10.0"),
            ("cold_start", "120.0"),
            ("drain", "30.0, or 0 to abort at once"),
            ("subscribers", "10.0, or 0 to drop what is queued"),
        ],
    )
    def test_seconds_of_timeouts(self, name, example, value):
        if (name in {"read", "drain"} and value is None) or (
            name in {"drain", "subscribers"} and value == 0
        ):
            assert getattr(Timeouts(**{name: value}), name) is value
            return
        assert refusal(Timeouts, **{name: value}) == (
            f"timeouts.{name} must be a number above 0, got {value!r}; for example {example}"
        )

    @pytest.mark.parametrize("name", ["drain", "subscribers"])
    def test_dropping_at_once_is_no_flag(self, name):
        assert f"timeouts.{name}" in refusal(Timeouts, **{name: False})

    @pytest.mark.parametrize("value", [*NO_NUMBERS, 1.5, 64.0])
    @pytest.mark.parametrize("field", WHOLE_LIMITS, ids=lambda each: each.name)
    def test_limits_are_whole(self, field, value):
        if value is field.default is None:
            return
        example = 16 if field.default is None else field.default
        assert refusal(Limits, **{field.name: value}) == (
            f"limits.{field.name} must be a whole number, 1 or more, got {value!r}; "
            f"for example {example}"
        )

    @pytest.mark.parametrize("field", WHOLE_LIMITS, ids=lambda each: each.name)
    def test_the_least_limit_is_one(self, field):
        assert getattr(Limits(**{field.name: 1}), field.name) == 1

    @pytest.mark.parametrize("value", [each for each in NO_NUMBERS if each is not None])
    @pytest.mark.parametrize("name", SECONDS_LIMITS)
    def test_ceilings_of_time_are_seconds(self, name, value):
        assert refusal(Limits, **{name: value}) == (
            f"limits.{name} must be a number above 0, got {value!r}; for example 300.0"
        )
        assert getattr(Limits(**{name: 0.5}), name) == 0.5

    @given(st.floats(min_value=0, exclude_min=True, allow_nan=False) | st.integers(min_value=1))
    def test_any_positive_number_will_do(self, value):
        config = ControllerConfig(
            rebuild_interval=value, timeouts=Timeouts(call=value, subscribers=value)
        )
        assert (
            config.rebuild_interval == config.timeouts.call == config.timeouts.subscribers == value
        )


class TestNames:
    @pytest.mark.parametrize(
        ("kind", "option", "hint"),
        [
            (ControllerConfig, "gatewayurl", "did you mean 'gateway_url'?"),
            (ControllerConfig, "namespace", "did you mean 'namespaces'?"),
            (ControllerConfig, "rebuild_intervall", "did you mean 'rebuild_interval'?"),
            (Timeouts, "conect", "did you mean 'connect'?"),
            (Limits, "max_inflight", "did you mean 'max_in_flight'?"),
            (Timeouts, "xyz", "known: connect, call, read, system, cold_start, drain, subscribers"),
        ],
    )
    def test_an_unknown_option_gets_the_nearest_right_one(self, kind, option, hint):
        message = refusal(kind, **{option: 1})
        assert message == f"{kind.__name__} has no option {option!r}; {hint}"

    def test_options_go_by_name(self):
        with pytest.raises(ConfigError) as caught:
            ControllerConfig("http://gateway:8080")
        assert str(caught.value) == (
            "ControllerConfig takes its options by name, got 1 without one; "
            "for example ControllerConfig(gateway_url=...)"
        )

    def test_it_is_an_error_of_ours_and_a_value_error(self):
        with pytest.raises(ConnectorError):
            Timeouts(call=0)
        with pytest.raises(ValueError, match=r"timeouts\.call"):
            Timeouts(call=0)


class TestGateway:
    @pytest.mark.parametrize("url", ["gateway:8080", "http://", "", None, "http://gw:0"])
    def test_a_bad_address_is_refused(self, url):
        message = refusal(ControllerConfig, gateway_url=url)
        assert message.startswith("gateway_url ")
        assert message.endswith(f"got {url!r}; for example 'http://127.0.0.1:8080'")

    def test_a_password_in_it_is_refused_and_not_shown(self):
        message = refusal(ControllerConfig, gateway_url="http://admin:s3cret@gw:8080")
        assert "s3cret" not in message
        assert "use auth=BasicAuth(user, password)" in message

    def test_a_bad_callback_is_refused(self):
        assert refusal(ControllerConfig, callback_url="/collect") == (
            "callback_url must begin with http:// or https://, got '/collect'; "
            "for example 'http://gateway.openfaas:8080/function/collect'"
        )

    def test_tls_is_a_context_and_no_flag(self):
        assert refusal(ControllerConfig, tls=True) == (
            "tls must be of type SSLContext, got True; for example ssl.create_default_context()"
        )
        context = ssl.create_default_context()
        assert ControllerConfig(tls=context).tls is context


class TestNamespaces:
    @pytest.mark.parametrize(
        ("given_", "patterns"),
        [
            (None, ()),
            ("openfaas-fn", ("openfaas-fn",)),
            (" dev ", ("dev",)),
            (["staging", "team-*", "staging"], ("staging", "team-*")),
            (("a",), ("a",)),
            ("*", ("*",)),
        ],
    )
    def test_all_one_several_and_patterns(self, given_, patterns):
        assert ControllerConfig(namespaces=given_).namespace_patterns == patterns

    def test_a_list_is_copied(self):
        names = ["a"]
        config = ControllerConfig(namespaces=names)
        names.append("b")
        assert config.namespaces == ("a",)
        assert hash(config) == hash(ControllerConfig(namespaces="a"))

    @pytest.mark.parametrize(
        "value",
        ["", " ", [], ["a", ""], ["a", None], [1], 5, b"a", "a/b", "a b", "a,b", "a?", "a\n/"],
    )
    def test_anything_else_is_refused(self, value):
        assert refusal(ControllerConfig, namespaces=value) == (
            f"namespaces must be None, a name or a list of names, got {value!r}; "
            "for example 'openfaas-fn' or ['staging', 'team-*']"
        )


class TestMatcher:
    @pytest.mark.parametrize("value", ["mqtt", TopicMatcher.MQTT])
    def test_by_name_or_value(self, value):
        config = ControllerConfig(topic_matcher=value)
        assert config.matcher is config.topic_matcher is TopicMatcher.MQTT

    def test_by_callable_of_any_kind(self):
        class Prefix:
            def __call__(self, topic, pattern):
                return topic.startswith(pattern)

        for callable_ in (Prefix(), str.startswith, operator.eq, lambda *both: True, max):
            assert ControllerConfig(topic_matcher=callable_).matcher("a", "a")

    def test_what_answers_later_is_refused(self):
        async def matches(topic, pattern):
            return False

        class Matches:
            async def __call__(self, topic, pattern):
                return False

        for later in (matches, Matches()):
            with pytest.raises(ConfigError, match="must answer at once, got the coroutine functi"):
                ControllerConfig(topic_matcher=later)

    @pytest.mark.parametrize("wrong", [lambda topic: True, lambda a, b, c: True, lambda: True])
    def test_what_takes_no_two_arguments_is_refused(self, wrong):
        with pytest.raises(ConfigError, match=r"must take \(topic, pattern\), got .* argument"):
            ControllerConfig(topic_matcher=wrong)

    def test_by_callable(self):
        matcher = ControllerConfig(topic_matcher=lambda topic, pattern: topic > pattern).matcher
        assert matcher("b", "a") is True
        assert matcher("a", "b") is False

    def test_anything_else_is_refused(self):
        assert refusal(ControllerConfig, topic_matcher="regex").startswith("topic_matcher must be")


EXAMPLES = {
    "content_type": "application/json",
    "user_agent": "acme-connector/1.0",
    "connector": "acme/orders-connector",
}


class TestText:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (name, value)
            for name in EXAMPLES
            for value in ("", " a", "a\r\nX-Evil: 1", "é", None, 3, b"text/plain")
            if (name, value) != ("connector", None)  # its source says it
        ],
    )
    def test_what_no_header_may_hold_is_refused(self, name, value):
        assert refusal(ControllerConfig, **{name: value}) == (
            f"{name} must be text that a header may hold, got {value!r}; "
            f"for example {EXAMPLES[name]!r}"
        )

    @pytest.mark.parametrize("name", list(EXAMPLES))
    def test_the_example_is_right(self, name):
        config = ControllerConfig(**{name: EXAMPLES[name]})
        assert getattr(config, name) == EXAMPLES[name]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("topic_delimiter", None, "of type str, got None; for example ','"),
        ("send_topic", 0, "of type bool, got 0; for example False"),
        ("invocation", "async", "of type Invocation, got 'async'; for example Invocation.ASYNC"),
        ("retry", 5, "of type RetryPolicy, got 5; for example RetryPolicy(attempts=10)"),
        ("unmatched", "hold", "of type Unmatched, got 'hold'; for example Unmatched.HOLD"),
        ("on_failure", "drop", "of type OnFailure, got 'drop'; for example OnFailure.DROP"),
        ("timeouts", 30, "of type Timeouts, got 30; for example Timeouts(call=30.0)"),
        ("limits", {}, "of type Limits, got {}; for example Limits(max_in_flight=256)"),
    ],
)
def test_a_value_of_another_type(name, value, message):
    assert refusal(ControllerConfig, **{name: value}) == f"{name} must be {message}"


class TestAuth:
    @pytest.mark.parametrize(
        "auth",
        [
            BasicAuth("admin", "s3cret"),
            BearerToken("s3cret"),
            lambda: {"Authorization": "x"},
            BasicAuth("admin", "s3cret").headers,
        ],
    )
    def test_what_gives_headers_will_do(self, auth):
        assert ControllerConfig(auth=auth).auth is auth

    @pytest.mark.parametrize(
        ("auth", "got"),
        [
            (("admin", "s3cret"), "a tuple"),
            ("admin:s3cret", "a str"),
            ({"Authorization": "s3cret"}, "a dict"),
            (BasicAuth, "the class BasicAuth"),
        ],
    )
    def test_anything_else_is_refused_without_showing_it(self, auth, got):
        assert refusal(ControllerConfig, auth=auth) == (
            f"auth must be a callable or have headers(), got {got}; "
            "for example BasicAuth('admin', password)"
        )

    def test_repr_holds_no_secret(self):
        config = ControllerConfig(
            auth=BasicAuth("admin", "s3cret"), callback_url="http://u:s3cret@gw/function/collect"
        )
        assert "s3cret" not in repr(config)
        assert "auth=BasicAuth('admin', '***')" in repr(config)
        assert "callback_url='http://***@gw/function/collect'" in repr(config)
        assert "timeouts=Timeouts(connect=5.0, " in repr(config)
