"""When journalled events have to wait behind those that only the journal holds."""

from faas_connector.backlog import Backlog


def opened(has_room=True):
    backlog = Backlog()
    backlog.open(lambda: has_room)
    return backlog


def test_it_closes_when_all_was_begun_and_there_is_room():
    backlog = opened()
    backlog.begin()
    backlog.end()
    backlog.close(put_off=1)
    assert not backlog.is_open


def test_it_stays_open_while_there_is_no_room():
    backlog = opened(has_room=False)
    backlog.close(put_off=0)
    assert backlog.is_open


def test_it_stays_open_for_what_was_put_off_since_the_journal_was_read():
    backlog = opened()
    seen = backlog.put_off
    backlog.begin()
    backlog.end()
    backlog.close(seen)
    assert backlog.is_open


def test_it_stays_open_while_something_is_being_written():
    backlog = opened()
    backlog.begin()
    backlog.close(backlog.put_off)
    assert backlog.is_open
