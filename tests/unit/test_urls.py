"""URLs: what is wrong is said, and a password is never shown."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.errors import ConfigError
from faas_connector.urls import check_callback_url, check_gateway_url, mask_url


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, ""),
        ("http://gateway.openfaas:8080/", "gateway.openfaas", 8080, "/"),
        ("https://gw.example/base/path", "gw.example", None, "/base/path"),
        ("HTTP://GW:80", "gw", 80, ""),
        ("http://[::1]:8080", "::1", 8080, ""),
        ("http://localhost:65535", "localhost", 65535, ""),
    ],
)
def test_good_gateways(url, host, port, path):
    parts = check_gateway_url(url)
    assert (parts.hostname, parts.port, parts.path) == (host, port, path)


@pytest.mark.parametrize(
    ("url", "reason", "shown"),
    [
        ("", "must begin with http:// or https://", ""),
        ("gateway/?token=s3cret", "must begin with http:// or https://", "gateway/?***"),
        ("gateway:8080", "must begin with http:// or https://", "gateway:8080"),
        ("127.0.0.1:8080", "must begin with http:// or https://", "127.0.0.1:8080"),
        ("ftp://gw", "must begin with http:// or https://", "ftp://gw"),
        ("http://", "has no host", "http://"),
        ("http:///functions", "has no host", "http:///functions"),
        ("http://:8080", "has no host", "http://:8080"),
        ("http://gw:0", "must have a port from 1 to 65535", "http://gw:0"),
        ("http://gw:65536", "is no URL", "http://gw:65536"),
        ("http://gw:http", "is no URL", "http://gw:http"),
        ("http://[::1", "is no URL", "http://[::1"),
        (" http://gw", "holds characters that no URL has", " http://gw"),
        ("http://gw\n", "holds characters that no URL has", "http://gw\n"),
        ("http://g w", "holds characters that no URL has", "http://g w"),
        ("http://gäteway", "holds characters that no URL has", "http://gäteway"),
        ("http://gw?a=b", "must have no query and no fragment", "http://gw?***"),
        ("http://gw#a", "must have no query and no fragment", "http://gw#***"),
        (
            "http://admin:s3cret@gw:8080",
            "must not hold credentials (use auth=BasicAuth(user, password))",
            "http://***@gw:8080",
        ),
        (
            "http://@gw",
            "must not hold credentials (use auth=BasicAuth(user, password))",
            "http://***@gw",
        ),
        (None, "must be text", None),
        (8080, "must be text", 8080),
        (b"http://admin:s3cret@gw", "must be text", "http://***@gw"),
    ],
)
def test_bad_gateways(url, reason, shown):
    with pytest.raises(ConfigError) as caught:
        check_gateway_url(url)
    message = f"{reason}, got {shown!r}; for example 'http://127.0.0.1:8080'"
    assert str(caught.value) == f"gateway_url {message}"
    with pytest.raises(ConfigError) as caught:
        check_gateway_url(url, "OPENFAAS_URL")
    assert str(caught.value) == f"OPENFAAS_URL {message}"


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.openfaas:8080/function/collect",
        "https://example.com/hook?run=1&mail=a@b",
        "http://user:pw@example.com/hook",
    ],
)
def test_good_callbacks(url):
    check_callback_url(url)


@pytest.mark.parametrize(
    ("url", "reason", "shown"),
    [
        ("", "must begin with http:// or https://", ""),
        ("/function/collect", "must begin with http:// or https://", "/function/collect"),
        ("http://gw/a b", "holds characters that no URL has", "http://gw/a b"),
        ("http://u:pw@:80/", "has no host", "http://***@:80/"),
        (3, "must be text", 3),
    ],
)
def test_bad_callbacks(url, reason, shown):
    with pytest.raises(ConfigError) as caught:
        check_callback_url(url)
    assert str(caught.value) == (
        f"callback_url {reason}, got {shown!r}; "
        "for example 'http://gateway.openfaas:8080/function/collect'"
    )


# No letter of the secret stands in what is said about it anyway.
SECRETS = st.text(alphabet="éQXZ7:/@ \n%[]#?&=", min_size=1).map(lambda text: f"ß{text}ß")


@pytest.mark.parametrize("check", [check_gateway_url, check_callback_url])
@given(st.sampled_from(["http://", "https://", "ftp://", "", "http:/"]), SECRETS)
@example("http://", "ß://ß")
@example("http://", "ß@ß://ß@ß")
@example("", "ß://ß")
def test_a_password_is_never_shown(check, scheme, secret):
    for url in (f"{scheme}admin:{secret}@gw:8080/", f"{scheme}{secret}@gw:port"):
        with pytest.raises(ConfigError) as caught:
            check(url)
        error = caught.value
        while error is not None:
            assert "ß" not in str(error)
            assert "\\xdf" not in str(error)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        assert "\n" not in str(caught.value)
        assert "***@gw" in str(caught.value)


@given(st.text(alphabet=sorted({*string.printable} - {*"@?#"})))
def test_a_url_without_secrets_is_shown_as_it_is(url):
    assert mask_url(url) == url


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("http://u:p@h/p", "http://***@h/p"),
        ("http://h/p?token=s", "http://h/p?***"),
        ("http://h/p?a\nb?c#d", "http://h/p?***"),
        ("http://h/#s?t", "http://h/#***"),
        ("http://h/?", "http://h/?"),
        ("http://u:p@h/?token=s", "http://***@h/?***"),
        ("http://h/?token=s@t", "http://***@t"),
        ("https://token@h", "https://***@h"),
        ("u:p@h", "***@h"),
        ("http://u:p@ss@h", "http://***@h"),
        ("http://u:p/a@h", "http://***@h"),
        ("http://u:p@x://y@h", "http://***@h"),
        ("u:se://cret@h", "***@h"),
        (b"http://u:p@h", "http://***@h"),
        (None, None),
        (7, 7),
    ],
)
def test_masks(url, masked):
    assert mask_url(url) == masked
