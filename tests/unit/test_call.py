"""A call that somebody is told the end of: told once, or given up once."""

import pytest

from faas_connector.call import Call
from faas_connector.errors import ConnectError
from faas_connector.event import Event
from faas_connector.gateway.http1 import RawResponse
from faas_connector.headers import Headers
from faas_connector.metrics import CallCounts
from faas_connector.names import FunctionName

ANSWER = RawResponse(200, Headers(), b"ok")
PRINTER = FunctionName("printer", "fn")


class Noting:
    """Makes calls, and notes what they tell."""

    def __init__(self):
        self.said = []

    def ended(self, call, response):
        assert call.is_over
        self.said.append(response)

    def abandon(self, call):
        assert call.is_over
        self.said.append("abandoned")


@pytest.fixture
def by():
    return Noting()


@pytest.fixture
def call(by):
    return Call(by, PRINTER, Event("orders"), "id-1", (CallCounts(), None), print, "kafka", 3)


def test_it_ends_with_its_answer(call, by):
    assert not call.is_over
    call.answered(ANSWER)
    [response] = by.said
    assert (response.status, response.body, response.error) == (200, b"ok", None)
    assert (response.function, response.call_id, response.source) == (PRINTER, "id-1", "kafka")
    assert response.attempts == 3


def test_it_ends_without_one(call, by):
    error = ConnectError("nobody is there")
    call.fail(error)
    call.fail(ConnectError("later"))
    [response] = by.said
    assert (response.status, response.error, response.attempts) == (None, error, 3)


def test_what_has_ended_can_not_be_given_up(call, by):
    call.answered(ANSWER)
    call.give_up()
    assert "abandoned" not in by.said


def test_it_is_given_up_once_and_has_no_end_then(call, by):
    call.give_up()
    call.give_up()
    call.fail(ConnectError("too late"))
    assert by.said == ["abandoned"]
