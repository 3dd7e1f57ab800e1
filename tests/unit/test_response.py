"""What a response says of itself, and what is logged of it."""

import inspect
import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.errors import CallTimeoutError, ConfigError
from faas_connector.event import Event
from faas_connector.headers import Headers
from faas_connector.names import FunctionName
from faas_connector.response import InvokerResponse, LogResponses

CALL_ID = "0c5e7d3e-0000-4000-8000-000000000000"


def response(
    status=200, *, topic="payment.received", data=b"", error=None, body=b"", seconds=0.0123
):
    return InvokerResponse(
        Event(topic, data),
        FunctionName("printer", "openfaas-fn"),
        CALL_ID,
        0.0123,
        status,
        body=body,
        error=error,
    )


class TestResponse:
    def test_one_line_for_people(self):
        assert str(response(body=b"ok")) == (
            "payment.received -> printer.openfaas-fn 200 12.3 ms 2 B"
        )

    def test_without_an_answer_it_says_why(self):
        error = CallTimeoutError("no complete answer within 60.0 s")
        assert str(response(None, error=error)) == (
            "payment.received -> printer.openfaas-fn "
            "no answer: no complete answer within 60.0 s 12.3 ms 0 B"
        )

    def test_without_a_topic_there_is_a_dash(self):
        assert str(response(topic="")).startswith("- -> printer.openfaas-fn ")

    @given(st.text())
    @example("a\nERROR everything is lost")
    @example("\x1b[2J")
    @example("\u2028")
    def test_a_topic_from_outside_writes_no_line_of_its_own(self, topic):
        assert str(response(topic=topic)).isprintable()

    @pytest.mark.parametrize(
        ("status", "ok"),
        [
            (None, False),
            (199, False),
            (200, True),
            (202, True),
            (204, True),
            (299, True),
            (300, False),
            (301, False),
            (404, False),
            (500, False),
        ],
    )
    def test_ok_is_2xx(self, status, ok):
        assert response(status).ok is ok

    def test_topic_is_that_of_the_event(self):
        assert response(topic="a").topic == response(topic="a").event.topic == "a"

    def test_it_is_a_value_with_defaults(self):
        bare = InvokerResponse(Event("t"), FunctionName("f"), CALL_ID, 1.0)
        assert (bare.status, bare.body, bare.error, bare.attempts) == (None, b"", None, 1)
        assert bare.headers == Headers()
        assert bare == InvokerResponse(Event("t"), FunctionName("f"), CALL_ID, 1.0)
        with pytest.raises(AttributeError):
            bare.status = 200


class TestLogResponses:
    async def logged(self, caplog, answer, **options):
        with caplog.at_level(logging.DEBUG, "faas_connector.responses"):
            await LogResponses(**options)(answer)
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    async def test_a_success_is_logged_at_the_level(self, caplog):
        assert await self.logged(caplog, response()) == [("INFO", str(response()))]

    async def test_the_level_can_be_chosen(self, caplog):
        ((level, _),) = await self.logged(caplog, response(), level=logging.DEBUG)
        assert level == "DEBUG"

    @pytest.mark.parametrize("status", [None, 302, 404, 500])
    async def test_a_failure_is_a_warning(self, caplog, status):
        ((level, _),) = await self.logged(caplog, response(status), level=logging.DEBUG)
        assert level == "WARNING"

    async def test_bodies_only_when_asked_for(self, caplog):
        answer = response(data=b"in", body=b"out")
        ((_, plain),) = await self.logged(caplog, answer)
        assert plain == str(answer)
        caplog.clear()
        ((_, full),) = await self.logged(caplog, answer, request_body=True, response_body=True)
        assert full == f"{answer} request='in' response='out'"

    async def test_long_bodies_are_cut(self, caplog):
        ((_, line),) = await self.logged(
            caplog, response(body=b"abcdef"), response_body=True, max_body=4
        )
        assert line.endswith(" response='abcd'… (6 B)")

    async def test_2048_bytes_are_shown_unless_said_otherwise(self, caplog):
        ((_, line),) = await self.logged(caplog, response(body=b"x" * 2049), response_body=True)
        assert line.endswith(f" response='{'x' * 2048}'… (2049 B)")

    async def test_no_byte_may_be_shown_at_all(self, caplog):
        ((_, line),) = await self.logged(
            caplog, response(body=b"abc"), response_body=True, max_body=0
        )
        assert line.endswith(" response=''… (3 B)")

    async def test_a_body_of_exactly_the_limit_is_whole(self, caplog):
        ((_, line),) = await self.logged(
            caplog, response(body=b"abcd"), response_body=True, max_body=4
        )
        assert line.endswith(" response='abcd'")

    @pytest.mark.parametrize("body", [b"\xff\n\x00", "é".encode()[:1], b"a\r\nb", b"100 %s %d"])
    async def test_bytes_of_any_kind_are_one_line(self, caplog, body):
        answer = response(data=body, body=body)
        ((_, line),) = await self.logged(caplog, answer, request_body=True, response_body=True)
        assert line.isprintable()

    async def test_the_parts_are_there_for_structured_logs(self, caplog):
        await self.logged(caplog, response(503))
        (record,) = caplog.records
        assert record.topic == "payment.received"
        assert record.function == "printer.openfaas-fn"
        assert record.status == 503
        assert record.duration == 0.0123
        assert record.call_id == CALL_ID

    async def test_a_logger_of_ones_own(self, caplog):
        with caplog.at_level(logging.INFO, "mine"):
            await LogResponses(logger=logging.getLogger("mine"))(response())
        (record,) = caplog.records
        assert record.name == "mine"

    async def test_what_nobody_reads_is_not_made(self, caplog):
        class Untouchable(bytes):
            __slots__ = ()

            def __getitem__(self, index):
                raise AssertionError

        with caplog.at_level(logging.ERROR, "faas_connector.responses"):
            await LogResponses(response_body=True)(response(body=Untouchable(b"a")))
        assert not caplog.records

    def test_it_runs_on_the_loop(self):
        assert inspect.iscoroutinefunction(LogResponses().__call__)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"level": "INFO"}, "level must be a number, got 'INFO'; for example logging.INFO"),
            ({"max_body": -1}, "max_body must be 0 bytes or more, got -1; for example 2048"),
        ],
    )
    def test_bad_options(self, options, message):
        with pytest.raises(ConfigError) as caught:
            LogResponses(**options)
        assert str(caught.value) == message
