"""Signatures as providers document them, and all that is wrong with others."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector import ConfigError, Headers
from faas_connector.auth import SecretFile
from faas_connector.sources.webhook import access as access_module
from faas_connector.sources.webhook import signatures
from faas_connector.sources.webhook.access import Secrets, access_of
from faas_connector.sources.webhook.signatures import (
    ALGORITHMS,
    GITHUB,
    Encoding,
    Signature,
    decoded_secret,
)

SLACK = Signature(
    header="X-Slack-Signature",
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp_header="X-Slack-Request-Timestamp",
)
STRIPE = Signature(
    header="Stripe-Signature",
    prefix="v1=",
    separator=",",
    signed="{timestamp}.{body}",
    timestamp_header="Stripe-Signature",
    timestamp_prefix="t=",
)
STANDARD = Signature(
    header="Webhook-Signature",
    prefix="v1,",
    separator=" ",
    encoding=Encoding.BASE64,
    signed="{header:Webhook-Id}.{timestamp}.{body}",
    timestamp_header="Webhook-Timestamp",
)
SHOPIFY = Signature(header="X-Shopify-Hmac-Sha256", encoding=Encoding.BASE64)


def flaw(signature, fields, body, *keys, now=0.0):
    return signature.flaw(Headers(fields.items()), body, keys, now)


def test_github_as_its_documents_show_it():
    fields = {
        "X-Hub-Signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    }
    key = b"It's a Secret to Everybody"
    assert flaw(GITHUB, fields, b"Hello, World!", key) is None
    assert flaw(GITHUB, fields, b"Hello, World?", key) == "the signature is wrong"
    assert flaw(GITHUB, fields, b"Hello, World!", b"another", key) is None
    assert flaw(GITHUB, fields, b"Hello, World!", b"another") == "the signature is wrong"
    assert flaw(GITHUB, fields, b"Hello, World!") == "the signature is wrong"


def test_slack_as_its_documents_show_it():
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    fields = {
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "X-Slack-Request-Timestamp": "1531420618",
    }
    key = b"8f742231b10e8888abcd99yyyzzz85a5"
    assert flaw(SLACK, fields, body, key, now=1531420700.0) is None
    assert "too long ago" in flaw(SLACK, fields, body, key, now=1531420618.0 + 301)
    assert "too long ago" in flaw(SLACK, fields, body, key, now=1531420618.0 - 301)
    later = {**fields, "X-Slack-Request-Timestamp": "1531420619"}
    assert flaw(SLACK, later, body, key, now=1531420619.0) == "the signature is wrong"


def test_standard_webhooks_as_their_specification_shows_it():
    fields = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v2,AAAA v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    key = decoded_secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Encoding.BASE64)
    body = b'{"test": 2432232314}'
    assert flaw(STANDARD, fields, body, key, now=1614265330.0) is None
    other = {**fields, "webhook-id": "msg_other"}
    assert flaw(STANDARD, other, body, key, now=1614265330.0) == "the signature is wrong"


def test_time_and_signatures_in_one_header():
    signed = hmac.new(b"k", b"1000.{}", "sha256").hexdigest()
    fields = {"Stripe-Signature": f"t=1000,v1={'0' * 64}, v1={signed},v0=ff"}
    assert flaw(STRIPE, fields, b"{}", b"k", now=1000.0) is None
    assert "no time" in flaw(STRIPE, {"Stripe-Signature": f"v1={signed}"}, b"{}", b"k")
    twice = {"Stripe-Signature": f"t=1000,t=1,v1={signed}"}
    assert "no time" in flaw(STRIPE, twice, b"{}", b"k", now=1000.0)


def test_milliseconds():
    signed = hmac.new(b"k", b"1531420618000.x", "sha256").hexdigest()
    fields = {"Stripe-Signature": f"t=1531420618000,v1={signed}"}
    assert flaw(STRIPE, fields, b"x", b"k", now=1531420618.0) is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("encoding", [Encoding.HEX, Encoding.BASE64])
def test_every_algorithm_and_encoding(algorithm, encoding):
    digest = hmac.new(b"k", b"body", algorithm).digest()
    text = digest.hex() if encoding is Encoding.HEX else base64.b64encode(digest).decode()
    signature = Signature(header="Sig", algorithm=algorithm, encoding=encoding)
    assert flaw(signature, {"sig": text}, b"body", b"k") is None
    assert flaw(signature, {"sig": text}, b"body ", b"k") is not None


@given(st.data())
def test_no_other_signature_passes(data):
    body, key = b"Hello, World!", b"key"
    right = hmac.new(key, body, hashlib.sha256).hexdigest()
    how = data.draw(st.sampled_from(["cut", "flip", "other body", "other key", "text"]))
    if how == "cut":
        wrong = right[: data.draw(st.integers(0, 63))]
    elif how == "flip":
        at = data.draw(st.integers(0, 63))
        digit = data.draw(st.sampled_from("0123456789abcdef").filter(lambda d: d != right[at]))
        wrong = right[:at] + digit + right[at + 1 :]
    elif how == "other body":
        other = data.draw(st.binary().filter(lambda b: b != body))
        wrong = hmac.new(key, other, hashlib.sha256).hexdigest()
    elif how == "other key":
        other = data.draw(st.binary().filter(lambda k: k.rstrip(b"\0") != key))
        wrong = hmac.new(other, body, hashlib.sha256).hexdigest()
    else:
        wrong = data.draw(st.text().filter(lambda text: text.strip().lower() != right))
    assert flaw(GITHUB, {"X-Hub-Signature-256": f"sha256={wrong}"}, body, key) is not None
    assert flaw(GITHUB, {"X-Hub-Signature-256": right}, body, key) is not None
    assert flaw(GITHUB, {}, body, key) == "the request has no signature in X-Hub-Signature-256"


@pytest.mark.parametrize("text", ["sha1=00", "00", "sha256=0", "sha256=x"])
def test_a_signature_in_another_form_is_told_as_such(text):
    """As where the prefix or the encoding is set wrongly."""
    assert flaw(GITHUB, {"X-Hub-Signature-256": text}, b"body", b"key") == (
        "what X-Hub-Signature-256 holds has another form than the signature's prefix and encoding"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"header": "X Y"}, "signature_header must name a header"),
        ({"header": "S", "algorithm": "md5"}, "sha1, sha256"),
        ({"header": "S", "encoding": Encoding.TEXT}, "hex or base64"),
        ({"header": "S", "signed": "{timestamp}"}, "must hold {body}"),
        ({"header": "S", "signed": "{body}{url}"}, "no place {url}"),
        ({"header": "S", "signed": "{header:a b}{body}"}, "no place {header:a b}"),
        ({"header": "S", "timestamp_header": "T"}, "belong together"),
        ({"header": "S", "signed": "{timestamp}{body}"}, "belong together"),
        (
            {"header": "S", "signed": "{timestamp}{body}", "timestamp_header": "T",
             "tolerance": 0.0},
            "above 0 seconds",
        ),
    ],
)  # fmt: skip
def test_what_proves_nothing_is_refused(options, says):
    with pytest.raises(ConfigError, match=says.replace("{", r"\{").replace("}", r"\}")):
        Signature(**options)


def test_secrets_are_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    class Watched:
        digest = staticmethod(hmac.digest)
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(signatures, "hmac", Watched)
    monkeypatch.setattr(access_module, "hmac", Watched)
    right = hmac.new(b"k", b"", "sha256").hexdigest()
    flaw(GITHUB, {"X-Hub-Signature-256": f"sha256={right}"}, b"", b"k", b"other")
    assert len(compared) == 2  # every key, the right one first
    bearer = access_to(token="right")
    assert bearer.flaw(Headers([("Authorization", "Bearer wrong")]), b"", 0.0)
    basic = access_to(user="u", password="p")
    assert basic.flaw(Headers([("Authorization", "Basic dTpx")]), b"", 0.0)
    assert compared[2:] == [(b"wrong", b"right"), (b"u:q", b"u:p")]


def access_to(**options):
    given = {
        "signature": None, "secret": None, "secret_encoding": Encoding.TEXT, "token": None,
        "token_header": "Authorization", "user": "", "password": None,
    }  # fmt: skip
    return access_of(**{**given, **options})


def may_pass(access, *fields, body=b""):
    return access.flaw(Headers(fields), body, 0.0) is None


def test_bearer():
    access = access_to(token="t0ken")
    assert may_pass(access, ("authorization", "bearer t0ken"))
    assert not may_pass(access, ("Authorization", "Bearer t0ke"))
    assert not may_pass(access, ("Authorization", "t0ken"))
    assert not may_pass(access)
    twice = [("Authorization", "Bearer t0ken"), ("Authorization", "Bearer t0ken")]
    assert not may_pass(access, *twice)


def test_a_token_in_a_header_of_its_own():
    access = access_to(token="t0ken", token_header="X-Gitlab-Token")
    assert may_pass(access, ("X-Gitlab-Token", "t0ken"))
    assert not may_pass(access, ("X-Gitlab-Token", "Bearer t0ken"))
    assert not may_pass(access, ("Authorization", "Bearer t0ken"))


def test_basic():
    access = access_to(user="me", password="pass:w\xf6rd")
    right = base64.b64encode("me:pass:w\xf6rd".encode()).decode()
    assert may_pass(access, ("Authorization", f"Basic {right}"))
    for wrong in (f"Bearer {right}", "Basic bWU6", "Basic !", "Basic", ""):
        assert not may_pass(access, ("Authorization", wrong))
    assert not may_pass(access)


def test_everything_that_is_set_must_be_right():
    access = access_to(signature=GITHUB, secret="k", token="t")
    token = ("Authorization", "Bearer t")
    signature = ("X-Hub-Signature-256", "sha256=" + hmac.new(b"k", b"", "sha256").hexdigest())
    assert may_pass(access, token, signature)
    assert not may_pass(access, token)
    assert not may_pass(access, signature)
    assert access_to().is_open
    assert not access.is_open


@pytest.mark.parametrize(
    "options",
    [
        {"signature": GITHUB},
        {"secret": "k"},
        {"user": "me"},
        {"password": "p"},
        {"user": "a:b", "password": "p"},
        {"user": "me", "password": "p", "token": "t"},
    ],
)
def test_what_does_not_belong_together(options):
    with pytest.raises(ConfigError):
        access_to(**options)


def test_each_line_of_a_file_is_valid_and_a_change_is_seen(tmp_path):
    now = 0.0
    file = tmp_path / "secret"
    file.write_text("one\ntwo\n")
    secrets = Secrets(SecretFile(file), clock=lambda: now)
    assert secrets.current() == (b"one", b"two")
    file.write_text("three\n")
    assert secrets.current() == (b"one", b"two")
    now = 6.0
    assert secrets.current() == (b"three",)


def test_a_secret_that_is_not_written_as_it_should_be_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        Secrets("hunter2!", Encoding.HEX)
    assert "hunter2" not in str(caught.value)
    assert Secrets("6b6579", Encoding.HEX).current() == (b"key",)
