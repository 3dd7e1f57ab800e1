"""What is to fire next, however the clock is set."""

from faas_connector.sources.cron.agenda import Agenda, Job
from faas_connector.sources.cron.schedule import parse

MINUTELY = Job("t", parse("* * * * *"))


def times(found):
    return [firing.scheduled for firing in found]


def agenda_of(*jobs, since=0.0, **options):
    agenda = Agenda(**{"catch_up": 60.0, **options})
    agenda.plan(jobs, since)
    return agenda


def test_each_time_fires_once():
    agenda = agenda_of(MINUTELY)
    assert times(agenda.due(59.9)[0]) == []
    assert times(agenda.due(60.0)[0]) == [60.0]
    assert times(agenda.due(60.0)[0]) == []
    assert agenda.next_due() == 120.0


def test_a_clock_that_is_set_back_repeats_nothing():
    agenda = agenda_of(MINUTELY)
    assert times(agenda.due(120.0)[0]) == [60.0, 120.0]
    assert times(agenda.due(30.0)[0]) == []
    assert times(agenda.due(180.0)[0]) == [180.0]


def test_a_clock_that_is_set_forward_makes_up_for_what_is_within_the_window():
    agenda = agenda_of(MINUTELY, catch_up=180.0)
    due, missed = agenda.due(3605.0)
    assert times(due) == [3480.0, 3540.0, 3600.0]
    assert times(missed) == [60.0]


def test_what_is_removed_does_not_fire_and_what_is_new_fires_from_then_on():
    agenda = agenda_of(MINUTELY)
    other = Job("u", parse("@every 50s"))
    agenda.plan([other], 100.0)
    assert [firing.job for firing in agenda.due(150.0)[0]] == [other]


def test_jitter_puts_off_each_firing_by_the_same_time_whoever_counts():
    first, second = (agenda_of(MINUTELY, jitter=30.0, since=30.0) for _ in range(2))
    assert first.next_due() == second.next_due()
    assert 60.0 < first.next_due() < 90.0
    assert times(first.due(90.0)[0]) == [60.0]


def test_a_restart_skips_nothing_that_jitter_puts_off():
    """Whoever begins in the middle fires what is due from then on, and nothing of before."""
    hourly = Job("t", parse("0 * * * *"))
    whole = agenda_of(hourly, catch_up=0.0, jitter=3000.0)
    expected = [(time, whole.due(time)[0]) for time in range(0, 24 * 3600, 60)]
    for begun in range(0, 12 * 3600, 1500):
        later = agenda_of(hourly, catch_up=0.0, jitter=3000.0, since=begun)
        for time, firings in expected:
            if time > begun:
                assert later.due(time)[0] == [each for each in firings if due(each) > begun]


def test_what_was_due_before_the_beginning_does_not_fire():
    hourly = Job("t", parse("0 * * * *"))
    for begun in range(0, 24 * 3600, 700):
        agenda = agenda_of(hourly, catch_up=3600.0, jitter=3000.0, since=begun)
        assert agenda.due(begun) == ([], [])


def due(firing):
    agenda = agenda_of(firing.job, jitter=3000.0, since=firing.scheduled - 3001.0)
    while True:
        time = agenda.next_due()
        if firing in agenda.due(time)[0]:
            return time
