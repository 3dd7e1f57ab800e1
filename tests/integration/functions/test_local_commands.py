"""Commands and URLs under the local gateway, and which runner a function gets."""

import asyncio
import os
import signal
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from faas_connector.errors import ConfigError
from faas_connector.local.command_function import CommandFunction, CommandRunner
from faas_connector.local.function import (
    Answer,
    Call,
    FunctionAbortedError,
    Unsupported,
)
from faas_connector.local.python_function import PythonRunner
from faas_connector.local.runners import runner_for
from faas_connector.local.stack import StackFunction
from faas_connector.local.url_function import UrlRunner

from .calls import call, eventually, header, is_alive


def variables(answer: Answer) -> dict[str, str]:
    return dict(line.split("=", 1) for line in answer.body.decode().splitlines() if "=" in line)


@pytest.fixture
def command(tmp_path, log):
    """A running command, stopped at the end of the block."""

    @asynccontextmanager
    async def run(text: str, **fields) -> AsyncIterator[CommandRunner]:
        values = fields.pop("values", {})
        definition = CommandFunction(name="fn", command=text, folder=tmp_path, **fields)
        runner = CommandRunner(definition, secret=values.get, log=log.append)
        await runner.start()
        try:
            yield runner
        finally:
            await runner.stop()

    return run


def script(folder: Path, source: str, name: str = "run.sh") -> str:
    file = folder / name
    file.write_text("#!/bin/sh\n" + dedent(source))
    file.chmod(0o755)
    return f"./{name}"


async def test_body_in_and_output_out(command):
    async with command("tr a-z A-Z") as runner:
        answer = await runner.call(call("shout", Content_Type="text/x-loud"))
        assert (answer.status, answer.body) == (200, b"SHOUT")
        assert header(answer, "Content-Type") == "text/x-loud"
        assert float(header(answer, "X-Duration-Seconds") or "") > 0


async def test_the_content_type_of_the_environment_wins(command):
    async with command("cat", environment={"content_type": "a/b"}) as runner:
        assert header(await runner.call(call("x", Content_Type="c/d")), "Content-Type") == "a/b"
        assert header(await runner.call(call("x")), "Content-Type") == "a/b"


async def test_the_variables_of_the_classic_watchdog(command, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the developer's")
    async with command("env", environment={"LEVEL": "debug"}) as runner:
        answer = await runner.call(
            Call(
                "PUT",
                "/a%20b/c",
                "x=1&y=%2F",
                (
                    ("X-CALL-ID", "id"),
                    ("content-type", "text/plain"),
                    ("x-3abc-Def", "first"),
                    ("X-3abc-def", "second"),
                    ("Host", "fn:8080"),
                ),
                b"body",
            )
        )
        found = variables(answer)
        https = {name: value for name, value in found.items() if name.startswith("Http_")}
        assert https == {
            "Http_X_Call_Id": "id",
            "Http_Content_Type": "text/plain",
            "Http_X_3abc_Def": "first",
            "Http_Method": "PUT",
            "Http_ContentLength": "-1",
            "Http_Content_Length": "-1",
            "Http_Transfer_Encoding": "chunked",
            "Http_Query": "x=1&y=%2F",
            "Http_Path": "/a b/c",
            "Http_Host": "fn:8080",
        }
        assert found["LEVEL"] == "debug"
        assert found["HOSTNAME"] == runner.instance
        assert found["PATH"] == os.environ["PATH"]
        assert "AWS_SECRET_ACCESS_KEY" not in found
        empty = variables(await runner.call(call(method="GET")))
        assert empty["Http_Content_Length"] == "0"
        assert "Http_Query" not in empty
        known = variables(await runner.call(call("body", Content_Length="4")))
        assert known["Http_Content_Length"] == "4"
        assert "Http_Transfer_Encoding" not in known


async def test_no_variables_with_cgi_headers_off(command):
    async with command("env", environment={"cgi_headers": "false"}) as runner:
        assert "Http_" not in (await runner.call(call("x", X_A="b"))).body.decode()


async def test_no_shell_reads_the_command(command):
    async with command("echo 'two words' $HOME ; id") as runner:
        assert (await runner.call(call())).body == b"two words $HOME ; id\n"


async def test_a_failing_command_is_a_500(command, tmp_path, log):
    run = script(tmp_path, "cat; echo oops >&2; exit 3\n")
    async with command(run) as runner:
        answer = await runner.call(call("body "))
        assert (answer.status, answer.body) == (500, b"exit status 3\nbody oops\n")
        assert header(answer, "Content-Type") == "text/plain; charset=utf-8"
        await eventually(lambda: "exit status 3" in log)


async def test_stderr_goes_to_the_log_when_not_combined(command, tmp_path, log):
    run = script(tmp_path, "echo answer; echo oops >&2\n")
    async with command(run, environment={"combine_output": "false"}) as runner:
        assert (await runner.call(call())).body == b"answer\n"
        await eventually(lambda: "oops" in log)


async def test_a_killed_command_is_a_500(command, tmp_path):
    async with command(script(tmp_path, "kill -9 $$\n")) as runner:
        answer = await runner.call(call())
        assert (answer.status, answer.body) == (500, b"signal: killed\n")


async def test_an_absent_command_is_named_and_found_later(command, tmp_path, log):
    async with command("./later.sh") as runner:
        answer = await runner.call(call())
        assert answer.status == 500
        assert answer.body == b"fork/exec ./later.sh: no such file or directory\n"
        assert "./later.sh: no such file or directory; calls fail until it is there" in log[0]
        script(tmp_path, "echo here\n", "later.sh")
        assert (await runner.call(call())).body == b"here\n"
    async with command("no-such-command-at-all") as runner:
        answer = await runner.call(call())
        assert answer.body == (
            b'exec: "no-such-command-at-all": executable file not found in $PATH\n'
        )


async def test_a_file_that_may_not_run(command, tmp_path):
    (tmp_path / "plain").write_text("echo\n")
    async with command("./plain") as runner:
        answer = await runner.call(call())
        assert (answer.status, answer.body) == (500, b"fork/exec ./plain: permission denied\n")


async def test_methods_that_the_watchdog_refuses(command):
    async with command("cat") as runner:
        answer = await runner.call(call("x", method="OPTIONS"))
        assert (answer.status, answer.body) == (405, b"")


async def test_large_bodies_pass_both_ways(command):
    body = os.urandom(1 << 20) * 8
    async with command("cat") as runner:
        one, two = await asyncio.gather(runner.call(call(body)), runner.call(call(body[::-1])))
        assert one.body == body
        assert two.body == body[::-1]


async def test_a_body_that_nobody_reads(command):
    async with command("true") as runner:
        assert (await runner.call(call(b"x" * (1 << 20)))).status == 200


async def test_exec_timeout_kills_the_group(command, tmp_path, log):
    run = script(tmp_path, "sleep 600 & echo $! $$ > pids; wait\n")
    async with command(run, environment={"exec_timeout": "300ms"}) as runner:
        answer = await runner.call(call())
        assert (answer.status, answer.body) == (408, b"Killed process.\n")
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        await eventually(lambda: not any(map(is_alive, pids)))
        assert "exec_timeout (0.3 s): killing ./run.sh" in log


async def test_a_cancelled_call_kills_the_command(command, tmp_path):
    run = script(tmp_path, "sleep 600 & echo $! $$ > new; mv new pids; wait\n")
    async with command(run) as runner:
        running = asyncio.create_task(runner.call(call()))
        await eventually((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await eventually(lambda: not any(map(is_alive, pids)))


async def test_what_a_command_leaves_in_the_background_ends_with_it(command, tmp_path):
    run = script(tmp_path, "sleep 600 & echo $!\n")
    async with command(run) as runner:
        pid = int((await runner.call(call())).body)
        await eventually(lambda: not is_alive(pid))


async def test_max_inflight_is_429(command, tmp_path):
    run = script(tmp_path, "touch seen; while ! test -e gate; do sleep 0.01; done\n")
    async with command(run, environment={"max_inflight": "1"}) as runner:
        blocked = asyncio.create_task(runner.call(call()))
        await eventually((tmp_path / "seen").exists)
        assert (await runner.call(call())).status == 429
        (tmp_path / "gate").touch()
        assert (await blocked).status == 200


async def test_secrets_are_private_files_that_vanish(command, tmp_path):
    run = script(tmp_path, 'echo $secret_mount_path; cat "$secret_mount_path/key"\n')
    async with command(run, secrets=("key",), values={"key": b"s3cret"}) as runner:
        folder, value = (await runner.call(call())).body.decode().split("\n")
        assert value == "s3cret"
        assert stat.S_IMODE((Path(folder) / "key").stat().st_mode) == 0o600
    assert not Path(folder).parent.exists()


async def test_header_text_that_no_variable_can_hold(command):
    async with command("env") as runner:
        latin = (await runner.call(call(X_A="\xe9"))).body
        assert b"Http_X_A=\xe9\n" in latin  # the bytes as they came
        assert (await runner.call(Call("POST", "/", "", (("X-A", "a\0b"),), b""))).status == 500
        assert (await runner.call(call())).status == 200


async def test_debug_output_goes_to_the_log(command, log):
    async with command("echo hi", environment={"write_debug": "true"}) as runner:
        await runner.call(call())
        await eventually(lambda: "exit status 0, 3 bytes:" in log)


async def test_stop_aborts_what_runs(command, tmp_path):
    run = script(tmp_path, "setsid sleep 600 & sleep 600 & echo $! $$ > new; mv new pids; wait\n")
    async with command(run) as runner:
        running = asyncio.create_task(runner.call(call()))
        await eventually((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        pids.append(runner._process.pid)
        await runner.stop()
        with pytest.raises(FunctionAbortedError):
            await running
        assert [pid for pid in pids if is_alive(pid)] == []
        await runner.stop()


async def test_a_killed_worker_takes_its_commands_with_it(command, tmp_path):
    run = script(tmp_path, "sleep 600 & echo $! $$ > new; mv new pids; wait\n")
    async with command(run) as runner:
        running = asyncio.create_task(runner.call(call()))
        await eventually((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        os.kill(runner._process.pid, signal.SIGKILL)
        with pytest.raises(FunctionAbortedError):
            await running
        await eventually(lambda: not any(map(is_alive, pids)))


async def test_nothing_is_left_when_the_gateway_is_killed(tmp_path):
    run = script(tmp_path, "setsid sleep 600 & sleep 600 & echo $! $$ > new; mv new pids; wait\n")
    program = """
        import asyncio, sys
        from pathlib import Path
        from faas_connector.local.command_function import CommandFunction, CommandRunner
        from faas_connector.local.function import Call
        async def main():
            definition = CommandFunction(
                name="fn", command=sys.argv[1], folder=Path(sys.argv[2]), secrets=("key",))
            runner = CommandRunner(definition, secret=lambda name: b"value", log=print)
            await runner.start()
            running = asyncio.create_task(runner.call(Call("POST", "/", "", (), b"")))
            await asyncio.wait([runner._starting])
            print(runner._process.pid, runner._process._home, flush=True)
            await running
        asyncio.run(main())
    """
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", dedent(program), run, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert gateway.stdout
        worker, home = (await gateway.stdout.readline()).split()
        await eventually((tmp_path / "pids").exists)
    finally:
        gateway.kill()
        await gateway.wait()
    pids = [int(worker), *map(int, (tmp_path / "pids").read_text().split())]
    await eventually(lambda: not any(map(is_alive, pids)))
    await eventually(lambda: not Path(home.decode()).exists())


async def test_calls_side_by_side_never_swap_answers(command, tmp_path):
    run = script(
        tmp_path,
        """\
        read -r text
        case "$Http_X_What" in
            exit) exit 7 ;;
            kill) kill -9 $$ ;;
            leak) sleep 600 & ;;
            slow) sleep 0.2 ;;
        esac
        echo "$text"
        """,
    )
    async with command(run) as runner:

        async def one(number: int) -> int:
            what = ("", "exit", "kill", "leak", "slow", "", "", "")[number % 8]
            answer = await runner.call(call(f"{number}\n", X_What=what))
            if answer.status == 200:
                assert answer.body == f"{number}\n".encode()
                assert what in {"", "leak", "slow"}
            else:
                assert what in {"exit", "kill"}
            return answer.status

        statuses = Counter(await asyncio.gather(*(one(number) for number in range(400))))
        worker = runner._process.pid
    assert statuses == {200: 300, 500: 100}
    assert not is_alive(worker)


# A running URL


@pytest.fixture
async def upstream():
    """A server that tells what it was asked: its URL and the requests."""
    seen: list[bytes] = []

    async def answer(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n")
                     if line.lower().startswith(b"content-length:")), 0,
                )  # fmt: skip
                seen.append(head + await reader.readexactly(length))
                writer.write(
                    b"HTTP/1.1 418 Teapot\r\nContent-Length: 2\r\nConnection: keep-alive\r\n"
                    b"X-Own: yes\r\n\r\nhi"
                )
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/base/", seen


async def test_a_url_gets_the_call_behind_its_own_path(upstream, log):
    url, seen = upstream
    runner = UrlRunner("fn", url, log=log.append)
    await runner.start()
    try:
        answer = await runner.call(call("body", target="/a?b=c", X_Call_Id="id", Host="other"))
        assert answer == Answer(418, (("X-Own", "yes"),), b"hi")
        head, _, body = seen[0].partition(b"\r\n\r\n")
        assert body == b"body"
        assert head.split(b"\r\n") == [
            b"POST /base/a?b=c HTTP/1.1",
            b"Host: " + url.split("/")[2].encode(),
            b"X-Call-Id: id",
            b"Content-Length: 4",
        ]
    finally:
        await runner.stop()
        await runner.stop()
    with pytest.raises(FunctionAbortedError):
        await runner.call(call())


async def test_a_url_that_nobody_answers_is_an_abort(unused_tcp_port_factory, log):
    runner = UrlRunner("fn", f"http://127.0.0.1:{unused_tcp_port_factory()}", log=log.append)
    await runner.start()
    with pytest.raises(FunctionAbortedError):
        await runner.call(call("x"))
    await runner.stop()
    assert "gave no answer" in log[0]


# Which runner


def choose(tmp_path, **fields):
    definition = StackFunction(name="fn", **fields)
    return runner_for(definition, folder=tmp_path, secret=lambda _: None, log=print)


@pytest.mark.parametrize(
    "lang",
    ["python3-http", "python3-http-debian", "python3-flask", "python3-flask-debian", "python3"],
)
def test_python_templates(tmp_path, lang):
    assert isinstance(choose(tmp_path, lang=lang, handler=tmp_path), PythonRunner)


def test_a_command_whatever_the_language(tmp_path):
    runner = choose(tmp_path, lang="node20", fprocess="cat", handler=tmp_path / "absent")
    assert isinstance(runner, CommandRunner)
    assert isinstance(choose(tmp_path, lang="python3-http", fprocess="cat"), CommandRunner)


def test_a_url_comes_first(tmp_path):
    annotations = {"faas-connector.local.url": "http://127.0.0.1:5000"}
    runner = choose(tmp_path, lang="python3-http", fprocess="cat", annotations=annotations)
    assert isinstance(runner, UrlRunner)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"lang": "node20"}, "fn: the language 'node20' can't run here; start it yourself"),
        ({"lang": "pyton3-http"}, "did you mean 'python3-http'?"),
        ({}, "fn: it has no language and no fprocess"),
        ({"lang": "python3-http"}, "fn has no handler; name its folder"),
        ({"fprocess": "cat 'x"}, "fn can't run: fprocess \"cat 'x\" can't be split into words"),
        ({"fprocess": " "}, "fn can't run: fprocess is empty; for example: cat"),
        (
            {"annotations": {"faas-connector.local.url": "localhost:5000"}},
            "fn can't run: faas-connector.local.url",
        ),
    ],
)
def test_what_cant_run_says_why(tmp_path, fields, reason):
    refused = choose(tmp_path, **fields)
    assert isinstance(refused, Unsupported)
    assert reason in refused.reason
    assert "\n" not in refused.reason


def test_a_runner_refuses_a_broken_command(tmp_path):
    definition = CommandFunction(name="fn", command="a 'b", folder=tmp_path)
    with pytest.raises(ConfigError, match="No closing quotation"):
        CommandRunner(definition, secret=lambda _: None, log=print)
