"""What one call's answer means: the tables of the gateway's contract, and any other answer."""

import os
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.errors import (
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    ProtocolError,
    ResponseTooLargeError,
)
from faas_connector.headers import Headers
from faas_connector.names import Invocation
from faas_connector.outcome import (
    ACCEPTED,
    DELIVERED,
    Kind,
    Outcome,
    outcome_of,
    outcome_of_error,
    retry_after,
)

SYNC, ASYNC = Invocation.SYNC, Invocation.ASYNC
INTERNAL = {"X-Openfaas-Internal": "proxy"}
NO_ENDPOINTS = b"No endpoints available for: printer.\n"
NOT_FOUND = b"error finding function printer.openfaas-fn: server returned non-200 status code (404)"
PAGE_NOT_FOUND = b"404 page not found\n"


def outcome(status, body=b"", headers=None, *, mode=SYNC, **options):
    return outcome_of(mode, status, Headers((headers or {}).items()), body, **options)


def kind(status, body=b"", headers=None, **options):
    return outcome(status, body, headers, **options).kind


class TestTheFunctionsAnswer:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
    def test_2xx_is_a_success(self, status):
        assert outcome(status, b"any") is DELIVERED
        assert outcome(status, b"any", mode=ASYNC) is ACCEPTED
        assert DELIVERED.succeeded
        assert ACCEPTED.succeeded

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
    def test_what_may_go_better_is_tried_again(self, status):
        assert kind(status, b"said") is Kind.FAILED

    @pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 403, 404, 410, 413, 422])
    def test_what_never_goes_better_is_refused(self, status):
        assert kind(status, b"said", {"Location": "/elsewhere"}) is Kind.REFUSED

    @pytest.mark.parametrize(
        ("status", "codes", "expected"),
        [
            (404, {404}, Kind.FAILED),
            (302, {302}, Kind.FAILED),
            (500, {404}, Kind.REFUSED),
            (429, {404}, Kind.REFUSED),
            (503, {404}, Kind.REFUSED),
            (503, {503}, Kind.FAILED),
            (500, (), Kind.REFUSED),
            (204, {204}, Kind.DELIVERED),
        ],
    )
    def test_its_codes_decide(self, status, codes, expected):
        assert kind(status, b"said", codes=frozenset(codes)) is expected

    @pytest.mark.parametrize("status", [502, 503])
    @pytest.mark.parametrize("codes", [None, frozenset({429})])
    def test_statuses_that_a_gateway_gives_may_be_an_outage_even_if_refused(self, status, codes):
        assert outcome(status, b"<html>Bad Gateway</html>", codes=codes).may_be_outage

    @pytest.mark.parametrize("status", [408, 429, 500, 504, 404])
    def test_others_are_its_own(self, status):
        assert not outcome(status, b"said").may_be_outage


class TestTheGatewaysAnswer:
    CODES = (None, frozenset(), frozenset({429}), frozenset({404, 503}))

    @pytest.mark.parametrize("codes", CODES)
    @pytest.mark.parametrize(
        ("status", "body", "headers"),
        [(503, NO_ENDPOINTS, INTERNAL), (503, NO_ENDPOINTS, {}), (404, NOT_FOUND, {})],
    )
    def test_the_function_is_asleep_or_gone(self, status, body, headers, codes):
        found = outcome(status, body, headers, codes=codes)
        assert found.kind is Kind.ABSENT
        assert found.status == status
        assert not found.succeeded
        assert not found.may_be_outage

    @pytest.mark.parametrize("codes", CODES)
    @pytest.mark.parametrize(
        ("status", "body", "headers"),
        [
            (500, b"Can't reach service for: printer.\n", INTERNAL),
            (500, b"", INTERNAL),
            (400, b"odd", {"x-openfaas-INTERNAL": ""}),
            (503, b"odd", INTERNAL),
            (502, b"", {}),
        ],
    )
    def test_it_found_no_answer_which_the_functions_codes_do_not_govern(
        self, status, body, headers, codes
    ):
        found = outcome(status, body, headers, codes=codes)
        assert found.kind is Kind.FAILED
        assert found.may_be_outage

    @pytest.mark.parametrize(
        ("status", "body"), [(404, NO_ENDPOINTS), (500, NO_ENDPOINTS), (400, NOT_FOUND)]
    )
    def test_its_texts_count_with_their_status_only(self, status, body):
        assert kind(status, body) is not Kind.ABSENT


class TestTheQueuesAnswer:
    @pytest.mark.parametrize(
        "said",
        [
            "request body too large for OpenFaaS CE (256001 bytes), maximum: 256000 bytes",
            "nats: maximum payload exceeded",
        ],
    )
    def test_too_large_is_refused(self, said):
        body = f"Error queuing request: {said}\n".encode()
        assert kind(500, body, mode=ASYNC) is Kind.REFUSED
        assert kind(500, body, mode=SYNC) is Kind.FAILED, "a function may say so by chance"

    def test_a_queue_that_is_down_is_tried_again(self):
        body = b"Error queuing request: nats: outbound buffer limit exceeded\n"
        assert kind(500, body, mode=ASYNC) is Kind.FAILED

    def test_a_gateway_without_a_queue(self):
        found = outcome(404, PAGE_NOT_FOUND, mode=ASYNC)
        assert (found.kind, found.succeeded) == (Kind.NO_QUEUE, False)
        assert kind(404, PAGE_NOT_FOUND, mode=SYNC) is Kind.REFUSED

    @pytest.mark.parametrize(
        ("status", "codes", "expected"),
        [(500, {429}, Kind.FAILED), (400, {400}, Kind.REFUSED), (429, {500}, Kind.FAILED)],
    )
    def test_the_functions_codes_are_none_of_its_business(self, status, codes, expected):
        assert kind(status, b"odd", mode=ASYNC, codes=frozenset(codes)) is expected


class TestNoAnswer:
    @pytest.mark.parametrize("error", [CallTimeoutError, ConnectionLostError, ProtocolError])
    def test_is_tried_again_and_may_be_an_outage(self, error):
        assert outcome_of_error(error("no answer from http://gw:8080")) == Outcome(
            Kind.FAILED, "no answer from http://gw:8080", may_be_outage=True
        )

    def test_is_no_fault_of_a_function_to_which_nothing_was_sent(self):
        assert outcome_of_error(ConnectError("no connection to http://gw:8080")) == Outcome(
            Kind.ABSENT, "no connection to http://gw:8080", may_be_outage=True
        )

    def test_but_an_answer_that_is_too_large_would_be_so_again(self):
        found = outcome_of_error(ResponseTooLargeError("over 1048576 bytes"))
        assert found == Outcome(Kind.REFUSED, "over 1048576 bytes")


NOW = datetime(2024, 2, 29, 23, 59, 0, tzinfo=UTC).timestamp()


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (None, None),
            ("", None),
            ("0", 0.0),
            ("120", 120.0),
            (" 7 ", 7.0),
            ("007", 7.0),
            ("9" * 5000, 999_999_999_999.0),
            ("-1", None),
            ("1.5", None),
            ("\u0664", None),
            ("soon", None),
            ("Thu, 29 Feb 2024 23:59:30 GMT", 30.0),
            ("Thursday, 29-Feb-24 23:59:30 GMT", 30.0),
            ("Thu Feb 29 23:59:30 2024", 30.0),
            ("Thu, 29 Feb 2024 23:59:30 -0000", 30.0),
            ("Thu, 29 Feb 2024 23:58:00 GMT", 0.0),
            ("Fri, 30 Feb 2024 23:58:00 GMT", None),
            ("Thu, 29 Feb 99999 23:58:00 GMT", None),
        ],
    )
    def test_seconds_or_a_date(self, value, seconds):
        assert retry_after(value, NOW) == seconds

    def test_a_date_without_a_zone_is_none_of_this_machines(self, monkeypatch):
        before = os.environ.get("TZ")
        try:
            os.environ["TZ"] = "Asia/Tokyo"
            time.tzset()
            assert retry_after("Thu Feb 29 23:59:30 2024", NOW) == 30.0
        finally:
            os.environ.pop("TZ")
            os.environ.update({} if before is None else {"TZ": before})
            time.tzset()

    @given(st.integers(0, 250_000_000_000), st.floats(0, 1e11))
    def test_a_date_is_never_undercut(self, moment, now):
        text = format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)
        assert retry_after(text, now) == max(0.0, moment - now)

    @given(st.text() | st.text("0123456789 :,-+ADFGJMNOSTWaceghinortuvy"), st.floats(0, 1e11))
    @example("Wed, 21 Oct 2015 07:28:00 +9999999999", 0.0)
    @example("Mon, 01 Jan 0001 00:00:00 +2359", 0.0)
    def test_anything_else_says_nothing(self, value, now):
        wait = retry_after(value, now)
        assert wait is None or wait >= 0

    @pytest.mark.parametrize("status", [429, 503, 500])
    def test_it_counts_with_any_failure(self, status):
        assert outcome(status, b"busy", {"Retry-After": "7"}).retry_after == 7.0
        date = {"retry-after": "Thu, 29 Feb 2024 23:59:30 GMT"}
        assert outcome(status, b"busy", date, now=NOW).retry_after == 30.0
        assert outcome(status, b"busy").retry_after is None


class TestWhatIsSaid:
    @pytest.mark.parametrize(
        ("body", "what"),
        [
            (b"", "500"),
            (b" out\n of\tpaper \r\n", "500 out of paper"),
            (b"\x1b[31mred\x00", "500 ?[31mred?"),
            (b"\xff\xfe", "500 \ufffd\ufffd"),
            (b"x" * 1000, "500 " + "x" * 200),
        ],
    )
    def test_it_is_the_status_and_the_beginning_of_the_body(self, body, what):
        assert outcome(500, body).what == what

    @given(
        st.sampled_from(Invocation),
        st.integers(100, 599),
        st.binary(max_size=300)
        | st.sampled_from([NO_ENDPOINTS, NOT_FOUND, PAGE_NOT_FOUND, b"maximum payload exceeded"]),
        st.sampled_from([{}, INTERNAL, {"Retry-After": "5"}]),
        st.none() | st.frozensets(st.integers(100, 599)),
    )
    def test_any_answer_has_a_meaning_in_one_line(self, mode, status, body, headers, codes):
        found = outcome(status, body, headers, mode=mode, codes=codes)
        assert found.succeeded == (200 <= status <= 299)
        assert found.succeeded or found.status == status
        assert found.what.isprintable()
        assert found.kind is not Kind.NO_QUEUE or mode is ASYNC
