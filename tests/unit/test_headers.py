"""Header fields: nothing that could end a line passes, and everything arrives."""

import string
from base64 import b64decode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.errors import ConfigError
from faas_connector.headers import Headers, encode_field, is_text, is_token

TOKEN = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters  # RFC 9110, 5.6.2
NAMES = st.text(TOKEN, min_size=1, max_size=12)
ANY_TEXT = st.text(st.characters())  # surrogates included
VISIBLE = {chr(code) for code in range(0x20, 0x7F)} | {"\t"}


def decoded(fields):
    """What a function makes of it, as the commercial Kafka connector documents it."""
    if len(fields) == 1:
        return fields[0][1].encode("ascii")
    (name, value), marker = fields
    assert marker == (f"{name}-Enc", "b64")
    return b64decode(value, validate=True)


class TestEncodeField:
    @given(NAMES, ANY_TEXT)
    @example("X-Topic", "")
    @example("X-Topic", "a\r\nX-Evil: 1")
    @example("X-Topic", " a")
    @example("X-Topic", "\x7f")
    @example("X-Topic", "\ud800")
    @example("X-Topic", "é")
    def test_every_value_arrives_and_is_header_text(self, name, value):
        fields = encode_field(name, value)
        assert fields[0][0] == name
        for field_name, field_value in fields:
            assert is_token(field_name)
            assert set(field_value) <= VISIBLE
            assert field_value == field_value.strip(" \t")
        assert decoded(fields) in {
            value.encode("utf-8", errors)
            for errors in ("surrogateescape", "surrogatepass")
            if errors == "surrogatepass" or can_be_bytes(value)
        }

    @given(NAMES, st.text())
    def test_what_is_unicode_goes_as_utf_8(self, name, value):
        assert decoded(encode_field(name, value)) == value.encode()

    @given(NAMES, st.binary(min_size=1))
    def test_bytes_from_the_command_line_stay_those_bytes(self, name, raw):
        text = raw.decode("utf-8", "surrogateescape")
        assert decoded(encode_field(name, text)) == raw

    @pytest.mark.parametrize("value", ["", "a", "a b", "a\tb", "text/plain; charset=utf-8", "~"])
    def test_header_text_goes_as_it_is(self, value):
        assert encode_field("X-A", value) == (("X-A", value),)

    @pytest.mark.parametrize("name", ["", "X A", "X:A", "X\r\nA", "É", "X\n", '"X"', "a/b"])
    def test_a_bad_name_is_refused(self, name):
        with pytest.raises(ConfigError) as caught:
            encode_field(name, "v")
        assert str(caught.value) == (
            f"{name!r} is no header name: letters, digits and '-', for example 'X-Source'"
        )
        assert not is_token(name)


def can_be_bytes(value):
    return all(not 0xD800 <= ord(char) <= 0xDFFF or 0xDC80 <= ord(char) <= 0xDCFF for char in value)


@given(st.text(st.characters(max_codepoint=0x17F)))
def test_is_text_is_visible_ascii_without_blanks_at_the_ends(value):
    assert is_text(value) == (set(value) <= VISIBLE and value == value.strip(" \t"))


class TestHeaders:
    FIELDS = (("Set-Cookie", "a=1"), ("X-A", "1"), ("set-cookie", "b=2"))

    def test_names_ignore_case_and_the_first_value_counts(self):
        headers = Headers(self.FIELDS)
        assert headers["SET-COOKIE"] == "a=1"
        assert headers.get("x-a") == "1"
        assert "X-a" in headers
        assert "X-B" not in headers
        assert 3 not in headers
        assert headers.get("X-B") is None
        with pytest.raises(KeyError):
            headers["X-B"]

    def test_every_value_of_a_field(self):
        headers = Headers(self.FIELDS)
        assert headers.get_all("Set-cookie") == ("a=1", "b=2")
        assert headers.get_all("X-B") == ()

    def test_fields_are_as_they_came(self):
        assert Headers(iter(self.FIELDS)).fields == self.FIELDS

    def test_it_is_a_mapping_of_lower_case_names(self):
        headers = Headers(self.FIELDS)
        assert dict(headers) == {"set-cookie": "a=1", "x-a": "1"}
        assert len(headers) == 2

    def test_it_can_not_be_changed(self):
        headers = Headers(self.FIELDS)
        with pytest.raises(TypeError):
            headers["X-A"] = "2"
        with pytest.raises(AttributeError):
            headers.extra = 1

    def test_repr_shows_all(self):
        assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"

    def test_equality_ignores_case_and_not_values(self):
        headers = Headers(self.FIELDS)
        assert headers == Headers([("SET-COOKIE", "a=1"), ("set-cookie", "b=2"), ("x-A", "1")])
        assert headers != Headers([("Set-Cookie", "a=1"), ("X-A", "1")])
        assert Headers([("X-A", "1")]) == {"x-a": "1"} == Headers([("x-a", "1")])
        assert Headers([("X-A", "1")]) == {"X-A": "1"}
        assert Headers([("X-A", "1")]) != {"X-A": "2"}
        assert Headers() != 3

    @given(st.lists(st.tuples(st.sampled_from(["A", "a", "B", "b", "C"]), st.text(max_size=2))))
    def test_it_is_what_a_list_of_pairs_gives(self, fields):
        headers = Headers(fields)
        for name in ("a", "B", "c"):
            values = tuple(value for key, value in fields if key.lower() == name.lower())
            assert headers.get_all(name) == values
            assert headers.get(name) == (values[0] if values else None)
        assert set(headers) == {name.lower() for name, _ in fields}
