"""Python functions under the local gateway: what they see, what they answer, and who suffers."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from faas_connector.local.function import (
    Answer,
    Call,
    CallableRunner,
    FunctionAbortedError,
    pod_name,
)
from faas_connector.local.python_function import PythonFunction, PythonRunner

from .calls import call, eventually, header, is_alive


def save(folder: Path, source: str, name: str = "handler.py") -> Path:
    """Save the file in one step, as editors do: no half of it is ever seen."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".{name}.new"
    new.write_text(dedent(source))
    new.rename(folder / name)
    return folder / name


async def answers(runner: PythonRunner, body: bytes) -> None:
    """Call until the function answers this; what it says before must be an answer as well."""
    answer = await runner.call(call())
    while answer.body != body:
        assert answer.status == 200, answer
        await asyncio.sleep(0.01)
        answer = await runner.call(call())


def modes(secrets: Path) -> tuple[int, ...]:
    """Who may read the secret, its folder, and the folder above."""
    paths = (secrets / "api-key", secrets, secrets.parent)
    return tuple(stat.S_IMODE(path.stat().st_mode) for path in paths)


@pytest.fixture
def function(tmp_path, log):
    """A running function with the handler given, stopped at the end of the block."""

    @asynccontextmanager
    async def run(source: str | None, kind: str = "http", **fields) -> AsyncIterator[PythonRunner]:
        name = fields.pop("name", "fn")
        folder = tmp_path / name
        if source is not None:
            save(folder, source)
        values = fields.pop("values", {})
        definition = PythonFunction(name=name, kind=kind, folder=folder, **fields)
        runner = PythonRunner(definition, secret=values.get, log=log.append)
        await runner.start()
        try:
            yield runner
        finally:
            await runner.stop()

    return run


# What a handler sees


async def test_an_http_handler_sees_the_call(function):
    source = """
        import json
        def handle(event, context):
            return json.dumps({
                "body": event.body.decode(),
                "type": type(event.body).__name__,
                "call-id": event.headers["x-CALL-id"],
                "same": event.headers.get("X-Call-Id"),
                "absent": event.headers.get("X-None", "default"),
                "inside": "x-call-ID" in event.headers,
                "twice": event.headers["x-twice"],
                "pairs": sorted(dict(event.headers)),
                "method": event.method,
                "first": event.query.get("a"),
                "all": event.query.getlist("a"),
                "blank": event.query.get("b"),
                "number": event.query.get("n", type=int),
                "no": event.query.get("no"),
                "path": event.path,
                "host": context.hostname,
            })
    """
    async with function(source) as runner:
        answer = await runner.call(
            Call(
                "PUT",
                "/a/b%20c/%C3%A9",
                "a=1&a=2&b=&n=7&plus=x+y",
                (("X-Call-Id", "id"), ("x-twice", "1"), ("X-Twice", "2")),
                b"body",
            )
        )
        assert json.loads(answer.body) == {
            "body": "body",
            "type": "bytes",
            "call-id": "id",
            "same": "id",
            "absent": "default",
            "inside": True,
            "twice": "1, 2",
            "pairs": ["X-Call-Id", "X-Twice"],
            "method": "PUT",
            "first": "1",
            "all": ["1", "2"],
            "blank": "",
            "number": 7,
            "no": None,
            "path": "/a/b c/é",
            "host": runner.instance,
        }
        assert answer.status == 200
        assert float(header(answer, "X-Duration-Seconds") or "") > 0


RETURNS = {
    "None": (200, b"", "text/html; charset=utf-8"),
    "'text é'": (200, "text é".encode(), "text/html; charset=utf-8"),
    r"b'\x00\xff'": (200, b"\x00\xff", "text/html; charset=utf-8"),
    "{'statusCode': 201, 'body': 'made'}": (201, b"made", "text/html; charset=utf-8"),
    "{'statusCode': '404', 'body': b'raw'}": (404, b"raw", "text/html; charset=utf-8"),
    "{'body': {'b': 1, 'a': [2]}}": (200, b'{"a":[2],"b":1}\n', "application/json"),
    "{'body': [1, 'x']}": (200, b'[1,"x"]\n', "application/json"),
    "{'body': 7}": (200, b"7", "text/html; charset=utf-8"),
    "{}": (200, b"", "text/html; charset=utf-8"),
    "{'headers': {'content-type': 'text/csv'}, 'body': 'a,b'}": (200, b"a,b", "text/csv"),
    "{'headers': [('Content-Type', 'a/b')], 'body': 'x'}": (200, b"x", "a/b"),
    "('made', 201)": (201, b"made", "text/html; charset=utf-8"),
    "('made', 201, {'Content-Type': 'a/b'})": (201, b"made", "a/b"),
    "('made', {'Content-Type': 'a/b'})": (200, b"made", "a/b"),
    "['a', {'b': 1}]": (200, b'["a",{"b":1}]\n', "application/json"),
}


async def test_what_an_http_handler_may_return(function):
    source = "def handle(event, context):\n    return eval(event.body)\n"
    async with function(source) as runner:
        for result, (status, body, content_type) in RETURNS.items():
            answer = await runner.call(call(result))
            assert (answer.status, answer.body) == (status, body), result
            assert header(answer, "Content-Type") == content_type, result


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("7", "handle returned 'int'"),
        ("object()", "handle returned 'object'"),
        ("{'statusCode': 99}", "the status 99: 200 to 599"),
        ("{'statusCode': 'no'}", "the status 'no'"),
        ("{'headers': {'X-A': 'a\\r\\nX-B: b'}}", "a header that can't be sent"),
        ("{'headers': {'X-A': '\\u20ac'}}", "a header that can't be sent"),
        ("{'headers': 5}", "no names with values"),
        ("{'body': {'x': object()}}", "no JSON"),
        ("(1, 2, 3, 4)", "a tuple of 4"),
    ],
)
async def test_a_wrong_result_is_a_500_with_the_reason_in_the_log(function, log, result, reason):
    source = "def handle(event, context):\n    return eval(event.body)\n"
    async with function(source) as runner:
        answer = await runner.call(call(result))
        assert answer.status == 500
        await eventually(lambda: any(reason in line for line in log))


@pytest.mark.parametrize("kind", ["flask", "body"])
async def test_the_older_templates_get_the_body_as_text(function, kind):
    source = "def handle(body):\n    return body.upper() if isinstance(body, str) else 'bytes'\n"
    async with function(source, kind=kind) as runner:
        answer = await runner.call(call("grüße"))
        assert (answer.status, answer.body.decode()) == (200, "GRÜSSE")
        assert (await runner.call(call(b"\xff"))).body.decode() == "\N{REPLACEMENT CHARACTER}"


async def test_raw_body_gives_bytes(function):
    source = "def handle(body):\n    return type(body).__name__\n"
    async with function(source, kind="flask", environment={"RAW_BODY": "True"}) as runner:
        assert (await runner.call(call("x"))).body == b"bytes"


async def test_methods_that_a_template_has_no_route_for(function):
    async with function("def handle(body):\n    return 'ran'\n", kind="flask") as runner:
        assert (await runner.call(call(method="PUT"))).status == 405
        assert (await runner.call(call(method="GET"))).body == b"ran"


async def test_the_folder_is_the_package_function(function, tmp_path):
    save(tmp_path / "fn", "VALUE = 'helper'\n", "helper.py")
    (tmp_path / "fn" / "data.txt").write_text("data")
    save(tmp_path / "fn" / "deep", "from ..helper import VALUE\nDEEP = VALUE + '!'\n", "mod.py")
    source = """
        import os, sys
        from .helper import VALUE
        from .deep.mod import DEEP
        from function import helper
        def handle(event, context):
            own = open(os.path.join(os.path.dirname(__file__), "data.txt")).read()
            relative = open("function/data.txt").read()
            return f"{VALUE} {DEEP} {helper.VALUE} {__name__} {own} {relative} {sys.argv}"
    """
    async with function(source) as runner:
        answer = await runner.call(call())
        assert answer.body.decode() == (
            "helper helper! helper function.handler data data ['index.py']"
        )
    assert not list(tmp_path.rglob("__pycache__"))


async def test_a_package_with_an_init(function, tmp_path):
    save(tmp_path / "fn", "NAME = 'from init'\n", "__init__.py")
    source = "from . import NAME\ndef handle(event, context):\n    return NAME\n"
    async with function(source) as runner:
        assert (await runner.call(call())).body == b"from init"


async def test_the_environment_is_its_own(function, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the developer's")
    source = """
        import os
        def handle(event, context):
            return str(os.environ.get(event.body.decode()))
    """
    async with function(source, environment={"LEVEL": "debug"}) as runner:
        assert (await runner.call(call("LEVEL"))).body == b"debug"
        assert (await runner.call(call("AWS_SECRET_ACCESS_KEY"))).body == b"None"
        assert (await runner.call(call("PATH"))).body.decode() == os.environ["PATH"]
        assert (await runner.call(call("HOSTNAME"))).body.decode() == runner.instance


async def test_secrets_are_private_files_that_vanish(function, log):
    source = """
        import os
        from pathlib import Path
        def handle(event, context):
            folder = os.environ["secret_mount_path"]
            usual = open("/var/openfaas/secrets/api-key").read()
            with Path("/var/openfaas/secrets/api-key").open() as file:
                same = file.read()
            return "|".join([folder, usual, same, *os.listdir(folder)])
    """
    values = {"api-key": b"s3cret\n"}
    async with function(source, secrets=("api-key", "absent"), values=values) as runner:
        answer = (await runner.call(call())).body.decode()
        folder, *rest = answer.split("|")
        assert rest == ["s3cret\n", "s3cret\n", "api-key"]
        assert modes(Path(folder)) == (0o600, 0o700, 0o700)
        assert "the secret 'absent' isn't there" in log[0]
        assert "faas-cli secret create absent" in log[0]
    assert not Path(folder).parent.exists()
    assert "s3cret" not in "".join(log)


async def test_faas_connector_itself_can_be_imported(function):
    source = """
        from faas_connector.errors import ConnectorError
        def handle(event, context):
            return ConnectorError.__module__
    """
    async with function(source) as runner:
        assert (await runner.call(call())).body == b"faas_connector.errors"


# Logs and errors


async def test_prints_are_log_lines_and_never_answers(function, log):
    source = """
        import os, subprocess, sys
        print("imported")
        def handle(event, context):
            print("to stdout é")
            print("to stderr", file=sys.stderr)
            os.write(1, b"raw bytes \\xff\\n")
            subprocess.run(["echo", "from a child"])
            print("x" * 70000)
            return "answer"
    """
    async with function(source) as runner:
        assert (await runner.call(call())).body == b"answer"
        await eventually(lambda: sum(map(len, log)) > 70000)
    assert log[:5] == [
        "imported",
        "to stdout é",
        "to stderr",
        "raw bytes \N{REPLACEMENT CHARACTER}",
        "from a child",
    ]
    assert "".join(log[5:]) == "x" * 70000


async def test_an_exception_is_a_500_and_its_traceback_is_logged(function, log, tmp_path):
    source = """\
        def handle(event, context):
            return inner()
        def inner():
            raise ValueError("boom")
    """
    async with function(source) as runner:
        answer = await runner.call(call())
        assert answer.status == 500
        assert answer.body == b"The function failed (ValueError); its log says more.\n"
        await eventually(lambda: "ValueError: boom" in log)
    assert log[0] == "Traceback (most recent call last):"
    assert log[1].startswith(f'  File "{tmp_path}/fn/handler.py", line 2, in handle')


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\ndef handle(\n", "handler.py:2: SyntaxError: '(' was never closed"),
        (
            "import os\nimport no_such_thing.sub\n",
            "handler.py:2: No module named 'no_such_thing'; install it: pip install no_such_thing",
        ),
        ("from .helper import x\n", "handler.py:1: No module named 'function.helper'"),
        ("\n\nraise RuntimeError('a\\nb')\n", "handler.py:3: RuntimeError: a b"),
        ("import sys\nsys.exit(3)\n", "handler.py:2: SystemExit: 3"),
        ("import json\njson.loads('{')\n", "handler.py:2: JSONDecodeError"),
        ("handler = 1\n", "handler.py:1: there is no function 'handle'"),
        ("\nasync def handle(e, c): ...\n", "handler.py:2: handle is an 'async def'"),
        (None, "handler.py is missing; it needs a function: def handle(event, context)"),
        ("import os\nos._exit(4)\n", "its process ended while it started, exit status 4"),
        (
            "import os\nos.kill(os.getpid(), 9)\n",
            "its process ended while it started, killed by SIGKILL",
        ),
    ],
)
async def test_a_handler_that_cant_start_says_why_in_one_line(function, log, source, message):
    async with function(source) as runner:
        answer = await runner.call(call())
        assert answer.status == 500
        text = answer.body.decode()
        assert text.startswith("The function fn can't start: ")
        assert message in text
        assert text.count("\n") == 1
        assert (await runner.call(call())).body == answer.body
    (line,) = log
    assert line.startswith("the function can't start: ")
    assert message in line


async def test_a_missing_requirement_is_named_with_its_file(function, tmp_path):
    save(tmp_path / "fn", "no-such-thing\n", "requirements.txt")
    async with function("import no_such_thing\n") as runner:
        text = (await runner.call(call())).body.decode()
    requirements = tmp_path / "fn" / "requirements.txt"
    assert f"install the function's requirements: pip install -r {requirements}" in text


async def test_a_handler_that_cant_start_works_once_it_is_repaired(function, log, tmp_path):
    async with function("import no_such_thing\n") as runner:
        assert (await runner.call(call())).status == 500
        save(tmp_path / "fn", "def handle(event, context):\n    return 'repaired'\n")
        await eventually(lambda: "a file has changed: starting the function anew" in log)
        assert (await runner.call(call())).body == b"repaired"


# Limits


BLOCKING = """
    import os, time
    def handle(event, context):
        if event.body.startswith(b"wait "):
            path = event.body[5:].decode()
            open(path + ".seen", "w").close()
            while not os.path.exists(path):
                time.sleep(0.005)
        return event.body
"""


async def test_a_blocking_call_blocks_only_itself(function, tmp_path):
    gate = tmp_path / "gate"
    async with function(BLOCKING) as runner:
        blocked = asyncio.create_task(runner.call(call(f"wait {gate}")))
        for number in range(50):
            assert (await runner.call(call(str(number)))).body == str(number).encode()
        assert not blocked.done()
        gate.touch()
        assert (await blocked).status == 200


async def test_max_inflight_is_429(function, tmp_path):
    gate = tmp_path / "gate"
    async with function(BLOCKING, environment={"max_inflight": "2"}) as runner:
        blocked = [asyncio.create_task(runner.call(call(f"wait {gate}"))) for _ in range(2)]
        await eventually((tmp_path / "gate.seen").exists)
        answer = await runner.call(call("third"))
        assert answer.status == 429
        assert answer.body == b"Concurrent request limit exceeded. Max concurrent requests: 2\n"
        assert header(answer, "X-OpenFaaS-Internal") == "faas-middleware"
        gate.touch()
        assert [a.status for a in await asyncio.gather(*blocked)] == [200, 200]
        assert (await runner.call(call("again"))).status == 200


async def test_exec_timeout_is_504(function, log, tmp_path):
    async with function(BLOCKING, environment={"exec_timeout": "50ms"}) as runner:
        answer = await runner.call(call(f"wait {tmp_path / 'never'}"))
        assert answer.status == 504
        assert header(answer, "X-OpenFaaS-Internal") == "of-watchdog"
        assert "a call took longer than exec_timeout (0.05 s)" in log
        assert (await runner.call(call("next"))).body == b"next"


async def test_a_cancelled_call_leaves_the_others_alone(function, tmp_path):
    gate = tmp_path / "gate"
    async with function(BLOCKING) as runner:
        blocked = asyncio.create_task(runner.call(call(f"wait {gate}")))
        await eventually((tmp_path / "gate.seen").exists)
        blocked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await blocked
        gate.touch()
        assert (await runner.call(call("next"))).body == b"next"


async def test_large_bodies_pass(function):
    body = os.urandom(1 << 20) * 20
    async with function("def handle(event, context):\n    return event.body\n") as runner:
        assert (await runner.call(call(body))).body == body


# Death and rebirth


ENDING = """
    import ctypes, os, signal, subprocess, sys
    def handle(event, context):
        how = event.body.decode()
        if how == "exit":
            os._exit(3)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "crash":
            ctypes.string_at(0)
        if how == "sys.exit":
            sys.exit(5)
        if how == "garbage":
            for fd in range(3, 64):
                try:
                    os.write(fd, b"\\xff" * 64)
                except OSError:
                    pass
            import time; time.sleep(60)
        return str(os.getpid())
"""


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("exit", "exit status 3"),
        ("kill", "killed by SIGKILL"),
        ("crash", "killed by SIGSEGV"),
    ],
)
async def test_a_dead_process_aborts_its_calls_and_starts_again(function, log, how, status):
    async with function(ENDING) as runner:
        first = (await runner.call(call("pid"))).body
        with pytest.raises(FunctionAbortedError):
            await runner.call(call(how))
        second = await runner.call(call("pid"))
        assert second.status == 200
        assert second.body != first
    assert f"the function's process ended ({status}); the next call starts it again" in log


async def test_sys_exit_ends_only_its_call(function, log):
    async with function(ENDING) as runner:
        first = (await runner.call(call("pid"))).body
        assert (await runner.call(call("sys.exit"))).status == 500
        assert (await runner.call(call("pid"))).body == first
        await eventually(lambda: "SystemExit: 5" in log)


async def test_garbage_on_the_channel_is_an_abort(function):
    async with function(ENDING) as runner:
        with pytest.raises(FunctionAbortedError):
            await runner.call(call("garbage"))
        assert (await runner.call(call("pid"))).status == 200


async def test_a_killed_guard_takes_the_function_with_it(function):
    async with function(ENDING) as runner:
        pid = int((await runner.call(call("pid"))).body)
        guard = runner._process.pid
        os.kill(guard, signal.SIGKILL)
        await eventually(lambda: not is_alive(pid))
        assert (await runner.call(call("pid"))).status == 200


async def test_a_crash_loop_backs_off_and_ends(function, log):
    async with function(ENDING) as runner:
        for _ in range(4):
            with pytest.raises(FunctionAbortedError):
                await runner.call(call("exit"))
        assert (await runner.call(call("pid"))).status == 200
    assert sum("ended (exit status 3)" in line for line in log) == 4


async def test_stop_aborts_what_runs_and_may_come_twice(function, tmp_path):
    async with function(BLOCKING) as runner:
        blocked = asyncio.create_task(runner.call(call(f"wait {tmp_path / 'never'}")))
        await eventually((tmp_path / "never.seen").exists)
        await runner.stop()
        with pytest.raises(FunctionAbortedError):
            await blocked
        with pytest.raises(FunctionAbortedError):
            await runner.call(call("late"))
        await runner.stop()


async def test_stop_while_it_starts(function, tmp_path):
    source = f"import time\nopen({str(tmp_path / 'seen')!r}, 'w').close()\ntime.sleep(60)\n"
    async with function(source) as runner:
        waiting = asyncio.create_task(runner.call(call()))
        await eventually((tmp_path / "seen").exists)
        await runner.stop()
        with pytest.raises(FunctionAbortedError):
            await waiting


async def test_stop_before_anything_has_begun(function):
    async with function("def handle(event, context): ...\n") as runner:
        await runner.stop()


LEAKING = """
    import atexit, os, subprocess, sys
    def handle(event, context):
        child = subprocess.Popen(["sleep", "600"])
        daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
        orphan = int(subprocess.run(
            [sys.executable, "-c",
             "import subprocess; print(subprocess.Popen(['sleep', '600'], "
             "start_new_session=True, stdout=subprocess.DEVNULL).pid)"],
            stdout=subprocess.PIPE).stdout)
        if event.body == b"spin":
            import re
            re.match("(a+)+$", "a" * 64 + "b")  # holds the interpreter's lock for ever
        return f"{os.getpid()} {child.pid} {daemon.pid} {orphan}"
"""


async def test_nothing_of_a_leaking_handler_is_left_after_stop(function):
    async with function(LEAKING) as runner:
        pids = [int(pid) for pid in (await runner.call(call())).body.split()]
        pids.append(runner._process.pid)
        assert all(map(is_alive, pids))
    assert [pid for pid in pids if is_alive(pid)] == []


async def test_what_a_dead_process_leaked_is_ended_with_it(function):
    async with function(LEAKING) as runner:
        pids = [int(pid) for pid in (await runner.call(call())).body.split()]
        os.kill(pids[0], signal.SIGKILL)
        await eventually(lambda: not any(map(is_alive, pids)))


async def test_nothing_is_left_when_the_gateway_is_killed(tmp_path):
    save(tmp_path / "fn", LEAKING)
    program = """
        import asyncio, sys
        from pathlib import Path
        from faas_connector.local.function import Call
        from faas_connector.local.python_function import PythonFunction, PythonRunner
        async def main():
            definition = PythonFunction(
                name="fn", kind="http", folder=Path(sys.argv[1]), secrets=("key",))
            runner = PythonRunner(definition, secret=lambda name: b"value", log=print)
            await runner.start()
            answer = await runner.call(Call("POST", "/", "", (), b""))
            print(answer.body.decode(), runner._process.pid, runner._process._home, flush=True)
            await runner.call(Call("POST", "/", "", (), b"spin"))
        asyncio.run(main())
    """
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        dedent(program),
        str(tmp_path / "fn"),
        stdout=subprocess.PIPE,
    )
    try:
        assert gateway.stdout
        *texts, home = (await gateway.stdout.readline()).split()
    finally:
        gateway.kill()
        await gateway.wait()
    pids = [int(text) for text in texts]
    assert len(pids) == 5
    await eventually(lambda: not any(map(is_alive, pids)))
    await eventually(lambda: not Path(home.decode()).exists())


# Saving a file


async def test_saving_replaces_the_process_and_fails_no_call(function, log, tmp_path):
    source = """
        import os, time
        def handle(event, context):
            time.sleep(0.002)
            return f"{VERSION} {{os.getpid()}}"
    """
    folder = tmp_path / "fn"

    def version(number: int) -> str:
        return source.replace("{VERSION}", str(number)).replace("{{", "{").replace("}}", "}")

    async with function(version(1)) as runner:
        answers: Counter[tuple[str, str]] = Counter()
        busy = True

        async def caller() -> None:
            while busy:
                answer = await runner.call(call())
                assert answer.status == 200, answer
                number, pid = answer.body.decode().split()
                answers[number, pid] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(caller())
            await eventually(lambda: answers)
            for number in range(2, 5):
                save(folder, version(number))
                wanted = str(number)
                await eventually(lambda wanted=wanted: any(n == wanted for n, _ in answers))
            busy = False
        assert {number for number, _ in answers} == {"1", "2", "3", "4"}
        assert (await runner.call(call())).body.decode().startswith("4 ")
        old = [int(pid) for number, pid in answers if number != "4"]
        await eventually(lambda: not any(map(is_alive, old)))


async def test_a_call_in_flight_survives_the_replacement(function, tmp_path):
    gate = tmp_path / "gate"
    async with function(BLOCKING) as runner:
        old = asyncio.create_task(runner.call(call(f"wait {gate}")))
        await eventually((tmp_path / "gate.seen").exists)
        save(tmp_path / "fn", "def handle(event, context):\n    return 'new'\n")
        await answers(runner, b"new")
        assert not old.done()
        gate.touch()
        assert (await old).body == f"wait {gate}".encode()


async def test_a_bad_save_keeps_the_old_process(function, log, tmp_path):
    async with function("def handle(event, context):\n    return 'good'\n") as runner:
        assert (await runner.call(call())).body == b"good"
        save(tmp_path / "fn", "def handle(\n")
        await eventually(lambda: any("so the old one stays" in line for line in log))
        assert (await runner.call(call())).body == b"good"
    assert any("handler.py:1: SyntaxError" in line for line in log)


@pytest.mark.parametrize("first", ["def handle(event, context):\n    return 'old'\n", None])
async def test_an_import_that_hangs_is_replaced_too(function, tmp_path, first):
    seen = tmp_path / "seen"
    hanging = f"import time\nopen({str(seen)!r}, 'w').close()\ntime.sleep(600)\n"
    async with function(first or hanging) as runner:
        if first:
            assert (await runner.call(call())).body == b"old"
            save(tmp_path / "fn", hanging)
        await eventually(seen.exists)
        waiting = asyncio.create_task(runner.call(call()))
        save(tmp_path / "fn", "def handle(event, context):\n    return 'new'\n")
        assert (await waiting).body == (b"old" if first else b"new")
        await answers(runner, b"new")


async def test_an_environment_that_no_process_can_have(function):
    source = "def handle(event, context): ...\n"
    async with function(source, environment={"A": "a\0b"}) as runner:
        answer = await runner.call(call())
        assert answer.status == 500
        assert b"the process can't be started: embedded null byte" in answer.body


async def test_a_helper_file_counts_as_well(function, tmp_path):
    save(tmp_path / "fn" / "lib", "VALUE = 'one'\n", "helper.py")
    source = "from .lib.helper import VALUE\ndef handle(event, context):\n    return VALUE\n"
    async with function(source) as runner:
        assert (await runner.call(call())).body == b"one"
        save(tmp_path / "fn" / "lib", "VALUE = 'two'\n", "helper.py")
        await answers(runner, b"two")


# All at once


async def test_a_thousand_calls_side_by_side_never_swap_answers(function):
    source = """
        import os, random, sys, time
        def handle(event, context):
            what = event.headers.get("X-What")
            time.sleep(random.random() / 50)
            if what == "exit":
                os._exit(1)
            if what == "kill":
                os.kill(os.getpid(), 9)
            if what == "sys.exit":
                sys.exit(1)
            if what == "raise":
                raise RuntimeError
            if what == "print":
                print("noise " * 50)
            return {"body": event.body, "headers": {"X-Echo": event.headers["X-Id"]}}
    """
    pids: list[int] = []
    async with (
        function(source, name="good") as good,
        function(source, name="other") as other,
        function(source, name="bad") as bad,
    ):

        async def one(number: int) -> str:
            runner = (good, other, bad)[number % 3]
            what = ""
            if runner is bad:
                what = ("exit", "kill", "", "", "", "")[number % 7 % 6]
            elif number % 5 < 3:
                what = ("sys.exit", "raise", "print")[number % 5]
            body = f"{number} ".encode() * (number % 100 + 1)
            try:
                answer = await runner.call(call(body, X_What=what, X_Id=str(number)))
            except FunctionAbortedError:
                assert runner is bad
                return "aborted"
            if what in {"sys.exit", "raise"}:
                assert answer.status == 500
                return "failed"
            assert (answer.status, answer.body) == (200, body)
            assert header(answer, "X-Echo") == str(number)
            return "answered"

        outcomes = Counter(await asyncio.gather(*(one(number) for number in range(1000))))
        pids = [r._process.pid for r in (good, other, bad) if r._process]
    assert outcomes["failed"] == sum(n % 3 != 2 and n % 5 < 2 for n in range(1000))
    assert outcomes["answered"] >= 400
    assert outcomes["aborted"] >= 1
    assert [pid for pid in pids if is_alive(pid)] == []


# A callable


async def test_a_callable_may_be_plain_or_a_coroutine_function(log):
    async def echo(call: Call) -> Answer:
        return Answer(200, (), call.body)

    for runner in (CallableRunner("a", echo, log.append), CallableRunner("b", _teapot, log.append)):
        await runner.start()
        answer = await runner.call(call("x"))
        assert answer in {Answer(200, (), b"x"), Answer(418, (), b"x")}
        await runner.stop()


def _teapot(call: Call) -> Answer:
    return Answer(418, (), call.body)


async def test_a_raising_callable_is_a_500_with_its_traceback_logged(log):
    def fail(_: Call) -> Answer:
        raise RuntimeError("boom")

    answer = await CallableRunner("fn", fail, log.append).call(call())
    assert (answer.status, answer.body) == (500, b"RuntimeError('boom')\n")
    assert log[-1] == "RuntimeError: boom"


async def test_a_callable_may_abort(log):
    def abort(_: Call) -> Answer:
        raise FunctionAbortedError

    with pytest.raises(FunctionAbortedError):
        await CallableRunner("fn", abort, log.append).call(call())
    assert log == []


def test_pods_have_names_of_their_own():
    assert pod_name("fn") != pod_name("fn")
    assert pod_name("fn").startswith("fn-")
