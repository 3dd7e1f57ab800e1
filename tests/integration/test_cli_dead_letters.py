"""`faas-connector dead-letters` as processes, on a state folder and against a local gateway."""

import asyncio
import base64
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from faas_connector import Event, FunctionName
from faas_connector.store import Entry, Query, Reason, State
from faas_connector.stores.sqlite import SqliteStore
from faas_connector.testing import Answer, LocalFunction

pytest_plugins = ["faas_connector.testing.plugin"]

COMMAND = [sys.executable, "-m", "faas_connector", "dead-letters"]
MAIL, BILL = FunctionName("mail", "openfaas-fn"), FunctionName("bill", "openfaas-fn")
NOW = 1_790_000_000.0


def dead(number, function=MAIL, **more):
    fields = {
        "state": State.DEAD, "source": "shop", "position": f"p/{number}", "function": function,
        "event": Event("orders", b"%d" % number, {"X-Shop": "a"}, key="k"),
        "attempts": 5, "calls": 6,
        "call_id": f"call-{number}", "reason": Reason.ATTEMPTS, "status": 500, "what": "500 broken",
        "answer": b"Traceback", "first": NOW, "last": NOW + number,
    }  # fmt: skip
    return Entry(**{**fields, **more})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def put(folder, *entries):
    async def write():
        async with SqliteStore(folder) as store:
            return await store.write(entries)

    return asyncio.run(write())


def kept(folder):
    async def read():
        async with SqliteStore(folder, lock_wait=None) as store:
            return await store.select(Query())

    return asyncio.run(read())


@pytest.fixture
def environ(tmp_path):
    ours = ("OPENFAAS_", "FAAS_CONNECTOR_", "gateway_url", "basic_auth")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**rest, "HOME": str(tmp_path), "COLUMNS": "100"}


@pytest.fixture
def run(environ, folder):
    def run(what, *arguments, within=60.0, state=True, **more):
        return subprocess.run(
            [*COMMAND, what, *(["--state", str(folder)] if state else []), *arguments],
            capture_output=True, env={**environ, **more}, timeout=within, check=False, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


def test_list_shows_a_line_for_each_within_the_terminal(run, folder):
    put(folder, dead(1), dead(2, BILL, what="no answer " * 30, status=None))
    ran = run("list")
    assert ran.returncode == 0
    head, first, second = ran.stdout.splitlines()
    assert head.split() == ["ID", "LAST", "FUNCTION", "TOPIC", "REASON", "CALLS", "WHAT"]
    assert first.split()[0] == "1"
    assert "mail.openfaas-fn" in first
    assert first.endswith("500 broken")
    assert second.endswith("…")
    assert max(map(len, (head, first, second))) <= 100


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--function", "mail"], [1, 3]),
        (["--function", "bill.openfaas-fn"], [2]),
        (["--namespace", "openfaas-fn"], [1, 2, 3]),
        (["--namespace", "other"], []),
        (["--topic", "orders"], [1, 2]),
        (["--reason", "refused"], [2]),
        (["--since", "2026-09-21T14:13:22Z"], [2, 3]),
        (["--until", "2026-09-21T14:13:22Z"], [1]),
        (["--since", "30m"], []),
        (["--limit", "2"], [1, 2]),
    ],
)
def test_what_is_listed_can_be_chosen(run, folder, flags, expected):
    put(folder, dead(1), dead(2, BILL, reason=Reason.REFUSED), dead(3, event=Event("refunds", b"")))
    ran = run("list", "--json", *flags)
    assert [json.loads(line)["id"] for line in ran.stdout.splitlines()] == expected


def test_more_than_a_screen_is_said_to_be_more(run, folder):
    put(folder, *(dead(number) for number in range(60)))
    ran = run("list")
    assert len(ran.stdout.splitlines()) == 51
    assert "10 more" in ran.stderr


def test_what_cannot_be_decoded_is_listed_as_such(run, folder):
    put(folder, dead(1), dead(2))
    change(folder, "UPDATE entries SET head = x'00ff' WHERE id = 2")
    listed = run("list")
    assert "can't be decoded" in listed.stdout.splitlines()[2]
    assert "can't be decoded" in run("show", "2").stdout


def test_show_tells_all(run, folder):
    put(folder, dead(1))
    ran = run("show", "1")
    for text in ("mail.openfaas-fn", "attempts", "p/1", "call-1", "X-Shop: a", "Traceback", "500"):
        assert text in ran.stdout
    missing = run("show", "1", "7")
    assert missing.returncode == 1
    assert "there is no dead letter 7" in missing.stderr


def test_remove_asks_and_takes_what_fits(run, folder):
    put(folder, dead(1), dead(2, BILL), dead(3))
    refused = run("remove", "--function", "mail")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert len(kept(folder)) == 3
    ran = run("remove", "--function", "mail", "--yes")
    assert ran.stdout == "2 dead letters removed\n"
    assert [entry.function for entry in kept(folder)] == [BILL]
    assert run("remove", "--yes", "2").stdout == "1 dead letter removed\n"


def test_export_and_replay_from_the_file(run, folder, tmp_path, threaded_gateway):
    threaded_gateway.add(LocalFunction(name="mail", annotations={"topic": "orders"}))
    data = bytes(range(256))
    put(folder, dead(1, event=Event("orders", data)), dead(2))
    file = tmp_path / "letters.jsonl"
    ran = run("export", "--output", str(file))
    assert ran.stdout == f"2 dead letters exported to {file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("export").stdout == file.read_text()
    assert "exists already" in run("export", "--output", str(file)).stderr
    file.write_text(f"{file.read_text()}{{broken\n")
    replay = ("replay", "--from", str(file), "-g", threaded_gateway.url)
    ran = run(*replay, state=False)
    assert "not sent  line 3" in ran.stderr
    assert "are still to be sent; the lines above say why" in ran.stderr
    assert ran.stdout == "2 sent, 0 failed again, 1 not sent\n"
    assert ran.returncode == 1
    assert Counter(call.body for call in threaded_gateway.received) == {data: 1, b"2": 1}
    assert run(*replay, state=False).stdout == "0 sent, 0 failed again, 1 not sent\n"
    assert len(threaded_gateway.received) == 2
    assert len(kept(folder)) == 2


def test_what_is_damaged_survives_its_export_and_can_be_mended(
    run, folder, tmp_path, threaded_gateway
):
    threaded_gateway.add(LocalFunction(name="mail"))
    body = b"\xffsaved"
    put(folder, dead(1), dead(2, event=Event("orders", body, {"X-Shop": "a"}, key="k")))
    change(folder, "UPDATE entries SET head = x'00ff' WHERE id = 2")
    file = tmp_path / "letters.jsonl"
    run("export", "--output", str(file))
    whole, damaged = map(json.loads, file.read_text().splitlines())
    assert "stored" not in whole
    assert damaged["event"] is None
    stored = damaged["stored"]
    assert (stored["topic"], stored["key"], stored["data_encoding"]) == ("orders", "k", "base64")
    assert base64.b64decode(stored["data"]) == body
    assert base64.b64decode(stored["head"]) == b"\x00\xff"
    replay = ("replay", "--from", str(file), "-g", threaded_gateway.url)
    ran = run(*replay, state=False)
    assert ran.stdout == "1 sent, 0 failed again, 1 not sent\n"
    assert "not sent  #2  mail.openfaas-fn  no event can be made of it" in ran.stderr
    assert "what is left of it is `stored` in the line" in ran.stderr
    damaged["event"] = {each: stored[each] for each in ("topic", "key", "data", "data_encoding")}
    file.write_text(f"{json.dumps(whole)}\n{json.dumps(damaged)}\n")
    assert run(*replay, state=False).stdout == "1 sent, 0 failed again, 0 not sent\n"
    assert threaded_gateway.received[-1].body == body
    assert threaded_gateway.received[-1].call_id == "call-2"


def test_replay_sends_with_the_same_call_id_and_leaves_what_fails(run, folder, threaded_gateway):
    def answer(call):
        return Answer(200 if call.body != b"2" else 503, body=b"still broken")

    threaded_gateway.add(LocalFunction(name="mail", answer=answer))
    put(folder, *(dead(number) for number in range(4)), dead(9, BILL))
    ran = run("replay", "--function", "mail", "-g", threaded_gateway.url)
    assert ran.stdout == "3 sent, 1 failed again, 0 not sent\n"
    assert ran.returncode == 1
    assert "failed  #3  mail.openfaas-fn" in ran.stderr
    calls = {call.body: call for call in threaded_gateway.received}
    for number in range(4):
        call = calls[b"%d" % number]
        assert call.call_id == call.header("X-Idempotency-Key") == f"call-{number}"
        assert call.header("X-Event-Replay") == "true"
        assert call.header("X-Event-Attempt") == "7"
    failed, other = kept(folder)
    assert (failed.attempts, failed.calls, failed.answer) == (6, 7, b"still broken")
    assert failed.last > NOW + 1000
    assert other.function == BILL


def test_replay_keeps_the_order_of_a_key(run, folder, threaded_gateway):
    chance = threading.Lock()

    def slow_at_first(call):
        with chance:
            time.sleep(0.002 * (20 - int(call.body)))
        return b""

    threaded_gateway.add(LocalFunction(name="mail", answer=slow_at_first))
    put(folder, *(dead(number, ordered=True) for number in range(20)))
    assert run("replay", "-g", threaded_gateway.url).returncode == 0
    assert [call.body for call in threaded_gateway.received] == [b"%d" % n for n in range(20)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_replay_interrupted_repeats_at_most_what_was_in_flight(
    environ, run, folder, threaded_gateway, number
):
    threaded_gateway.add(LocalFunction(name="mail"))
    threaded_gateway.inject("function/mail:delay=60ms")
    put(folder, *(dead(each, event=Event("orders", b"%d" % each)) for each in range(600)))
    process = subprocess.Popen(
        [*COMMAND, "replay", "--state", str(folder), "-g", threaded_gateway.url],
        env={**environ, "FAAS_CONNECTOR_MAX_IN_FLIGHT": "16"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    threaded_gateway.wait_received(100, within=60)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        # As if the minute were over for which a replay that was killed keeps others away.
        change(folder, "DELETE FROM claims")
    else:
        assert process.returncode == 130, stderr
        assert "waiting for the calls in flight" in stderr
        assert "replay again to go on" in stderr
        assert stdout.endswith("0 failed again, 0 not sent\n")
    before = len(threaded_gateway.received)
    assert 100 <= before < 600
    threaded_gateway.clear_faults()
    ran = run("replay", "-g", threaded_gateway.url)
    assert ran.returncode == 0, ran.stderr
    called = Counter(int(call.body) for call in threaded_gateway.received)
    assert set(called) == set(range(600))
    repeated = sum(count - 1 for count in called.values())
    assert repeated <= (16 if number == signal.SIGKILL else 0)
    assert kept(folder) == []


def test_a_second_interrupt_gives_up_what_is_in_flight_and_no_more_is_repeated(
    environ, run, folder, threaded_gateway
):
    threaded_gateway.add(LocalFunction(name="mail"))
    threaded_gateway.inject("function/mail:delay=60s,after=100")
    put(folder, *(dead(each, event=Event("orders", b"%d" % each)) for each in range(150)))
    process = subprocess.Popen(
        [*COMMAND, "replay", "--state", str(folder), "-g", threaded_gateway.url],
        env={**environ, "FAAS_CONNECTOR_MAX_IN_FLIGHT": "16"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    threaded_gateway.wait_received(116, within=60)
    process.send_signal(signal.SIGINT)
    assert "waiting for the calls in flight" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "given up: what was in flight may be called again" in stderr
    threaded_gateway.clear_faults()
    assert len(kept(folder)) == 50
    ran = run("replay", "-g", threaded_gateway.url)
    assert ran.returncode == 0, ran.stderr
    called = Counter(int(call.body) for call in threaded_gateway.received)
    assert set(called) == set(range(150))
    assert sum(count - 1 for count in called.values()) == 16
    assert kept(folder) == []


def change(folder, statement):
    with closing(sqlite3.connect(folder / "state.db")) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def test_two_replays_at_once_call_nothing_twice(environ, folder, threaded_gateway):
    threaded_gateway.add(LocalFunction(name="mail"))
    put(folder, *(dead(each, event=Event("orders", b"%d" % each)) for each in range(300)))
    processes = [
        subprocess.Popen(
            [*COMMAND, "replay", "--state", str(folder), "-g", threaded_gateway.url],
            env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
    called = Counter(int(call.body) for call in threaded_gateway.received)
    assert called == Counter(range(300))


def test_replay_works_beside_a_run(run, folder, threaded_gateway):
    threaded_gateway.add(LocalFunction(name="mail"))
    put(folder, dead(1))

    async def beside():
        async with SqliteStore(folder):
            return await asyncio.to_thread(run, "replay", "-g", threaded_gateway.url)

    ran = asyncio.run(beside())
    assert ran.stdout == "1 sent, 0 failed again, 0 not sent\n"


def test_replay_goes_at_the_given_rate(run, folder, threaded_gateway):
    threaded_gateway.add(LocalFunction(name="mail"))
    put(folder, *(dead(each, event=Event("orders", b"%d" % each)) for each in range(11)))
    begun = time.monotonic()
    assert run("replay", "--rate", "20", "-g", threaded_gateway.url).returncode == 0
    assert time.monotonic() - begun >= 0.5


def test_a_dry_run_calls_nothing(run, folder, threaded_gateway):
    put(folder, dead(1), dead(2, None, reason=Reason.UNMATCHED))
    ran = run("replay", "--dry-run", "-g", threaded_gateway.url)
    assert ran.stdout.splitlines() == [
        "would call mail.openfaas-fn  #1  orders",
        "would call every function that asks for orders  #2  orders",
    ]
    assert len(kept(folder)) == 2


def test_what_nobody_asked_for_goes_to_whoever_asks_now(run, folder, threaded_gateway):
    put(folder, dead(1, None, reason=Reason.UNMATCHED, call_id=""))
    ran = run("replay", "-g", threaded_gateway.url)
    assert ran.stdout == "0 sent, 0 failed again, 1 not sent\n"
    assert "no function asks for 'orders'" in ran.stderr
    for name in ("mail", "bill"):
        threaded_gateway.add(LocalFunction(name=name, annotations={"topic": "orders"}))
    assert (
        run("replay", "-g", threaded_gateway.url).stdout == "2 sent, 0 failed again, 0 not sent\n"
    )
    assert sorted(call.function.name for call in threaded_gateway.received) == ["bill", "mail"]
    assert kept(folder) == []


@pytest.fixture
def settings_file(tmp_path, folder, threaded_gateway):
    """A file that names the folder and the gateway; its sources can't be opened."""
    file = tmp_path / "connector.yaml"
    file.write_text(
        f"""\
version: 1
gateway: {{url: {threaded_gateway.url}}}
state: {{folder: {folder}}}
sources: [{{no-such-kind: {{}}}}]
"""
    )
    return str(file)


def test_a_file_of_settings_names_the_folder(run, folder, settings_file, tmp_path):
    put(folder, dead(1), dead(2))
    found = ("-f", settings_file)
    assert len(run("list", *found, state=False).stdout.splitlines()) == 3
    assert "call-2" in run("show", "2", *found, state=False).stdout
    exported = tmp_path / "letters.jsonl"
    assert run("export", *found, "-o", str(exported), state=False).returncode == 0
    assert len(exported.read_text().splitlines()) == 2
    removed = run("remove", "--yes", "1", *found, state=False)
    assert removed.stdout == "1 dead letter removed\n"
    assert [entry.id for entry in kept(folder)] == [2]


def test_a_file_of_settings_names_the_gateway_of_a_replay(
    run, folder, settings_file, tmp_path, threaded_gateway
):
    threaded_gateway.add(LocalFunction(name="mail"))
    put(folder, dead(1))
    exported = str(tmp_path / "letters.jsonl")
    run("export", "-o", exported)
    for arguments in ([], ["--from", exported]):
        ran = run("replay", "-f", settings_file, *arguments, state=False)
        assert ran.stdout == "1 sent, 0 failed again, 0 not sent\n"
        assert threaded_gateway.received[-1].call_id == "call-1"
    assert kept(folder) == []


def test_flag_and_variable_name_the_folder_before_a_file_does(run, settings_file, tmp_path):
    by_variable = {"FAAS_CONNECTOR_STATE": str(tmp_path / "variable")}
    ran = run("list", "-f", settings_file, state=False, **by_variable)
    assert f"no connector's state in {tmp_path / 'variable'};" in ran.stderr
    flag = str(tmp_path / "flag")
    ran = run("list", "-f", settings_file, "--state", flag, state=False, **by_variable)
    assert f"no connector's state in {flag};" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["list", "--since", "yesterday"], "'yesterday' is no time"),
        (["list", "--reason", "bad"], "'bad' is not one of"),
        (["list", "--limit", "0"], "--limit"),
        (["replay", "--rate", "0"], "not above 0"),
        (["replay", "--from", "nix.jsonl"], "--state"),
        (["show"], "Missing argument"),
    ],
)
def test_wrong_use_is_told_in_a_line(run, folder, arguments, expected):
    put(folder)
    ran = run(*arguments)
    assert ran.returncode == 2
    assert expected in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_folder_without_state_is_named(run, folder):
    ran = run("list")
    assert ran.returncode == 1
    assert ran.stderr == (
        f"Error: there is no connector's state in {folder}; "
        "name another folder with -f FILE or --state DIR\n"
    )
    assert not folder.exists()


def test_an_empty_store_has_none(run, folder, threaded_gateway):
    put(folder)
    where = f"in {folder} (name another folder with -f FILE or --state DIR)\n"
    assert run("list").stderr == f"no dead letters {where}"
    assert run("list", "--topic", "orders").stderr == f"no dead letters that fit {where}"
    assert run("export").stdout == ""
    assert (
        run("replay", "-g", threaded_gateway.url).stdout == "0 sent, 0 failed again, 0 not sent\n"
    )


def test_a_reader_that_goes_ends_it_quietly(environ, folder):
    put(folder, *(dead(number) for number in range(500)))
    with subprocess.Popen(
        [*COMMAND, "list", "--json", "--state", str(folder)],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
