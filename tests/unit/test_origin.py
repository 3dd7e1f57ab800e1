"""Where requests go, read from a URL."""

import pytest

from faas_connector.errors import ConfigError
from faas_connector.gateway.origin import Origin


@pytest.mark.parametrize(
    ("url", "origin", "host_header", "text"),
    [
        (
            "http://127.0.0.1:8080",
            Origin("http", "127.0.0.1", 8080),
            "127.0.0.1:8080",
            "http://127.0.0.1:8080",
        ),
        ("http://gateway", Origin("http", "gateway", 80), "gateway", "http://gateway"),
        ("https://gw.example/", Origin("https", "gw.example", 443), "gw.example", "https://gw.example"),
        ("http://gw:443", Origin("http", "gw", 443), "gw:443", "http://gw:443"),
        ("https://gw:443/", Origin("https", "gw", 443), "gw", "https://gw"),
        (
            "https://gw.example:8443/base/",
            Origin("https", "gw.example", 8443, "/base"),
            "gw.example:8443",
            "https://gw.example:8443/base",
        ),
        ("http://gw/a/b//", Origin("http", "gw", 80, "/a/b"), "gw", "http://gw/a/b"),
        ("HTTP://GateWay:80", Origin("http", "gateway", 80), "gateway", "http://gateway"),
        ("http://[::1]:8080/x", Origin("http", "::1", 8080, "/x"), "[::1]:8080", "http://[::1]:8080/x"),
        ("https://[2001:db8::1]", Origin("https", "2001:db8::1", 443), "[2001:db8::1]", "https://[2001:db8::1]"),
        ("http://[fe80::1%25eth0]:80", Origin("http", "fe80::1%eth0", 80), "[fe80::1]", "http://[fe80::1]"),
        ("http://gw:", Origin("http", "gw", 80), "gw", "http://gw"),
    ],
)  # fmt: skip
def test_parts_of_a_url(url, origin, host_header, text):
    assert Origin.parse(url) == origin
    assert Origin.parse(url).host_header == host_header
    assert str(Origin.parse(url)) == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateway:8080",
        "//gateway",
        "/base",
        "http://",
        "http:///base",
        "http://:8080",
        "ftp://gw",
        "ws://gw",
        "http://gw:x",
        "http://gw:99999",
        "http://gw:-1",
        "http://gw:0",
        "http://gw?x=1",
        "http://gw/#top",
        "http://user@gw",
        "http://user:s3cret@gw:8080",
        "http://[::1",
        "http://a b",
        "http://gw/a\r\nX: y",
        None,
        8080,
    ],
)
def test_what_is_no_address_of_a_server(url):
    with pytest.raises(ConfigError) as caught:
        Origin.parse(url)
    message = str(caught.value)
    assert message.startswith("gateway_url ")
    assert "for example" in message
    assert "s3cret" not in message
    assert "\n" not in message


def test_the_error_names_the_setting_it_came_from():
    with pytest.raises(ConfigError, match=r"functions\.a\.url must begin with http"):
        Origin.parse("ftp://x", field="functions.a.url")
