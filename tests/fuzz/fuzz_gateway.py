"""Fuzzes the local gateway's parser and routes, without sockets.

    python tests/fuzz/fuzz_gateway.py --seconds 60

Whatever bytes come, however they are split: each answer is valid HTTP/1.1 or the connection is
closed, nothing fails inside, and the gateway answers the next client. A failing input is kept as
`crash-…` in the current folder; give it as an argument to run it again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import sys
import tempfile
from pathlib import Path

import atheris

PARTS = ["faas_connector.local", "faas_connector.serving", "faas_connector.gateway"]
with atheris.instrument_imports(include=PARTS):
    from faas_connector.gateway.http1 import Request
    from faas_connector.local.function import Answer, Call, FunctionAbortedError, Unsupported
    from faas_connector.local.makers import Makers
    from faas_connector.serving.connection import Connection, ServerLimits
    from faas_connector.serving.server import Server
    from faas_connector.testing import LocalFunction, LocalGateway

INPUTS_PER_GATEWAY = 2000
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]
PATHS = [
    "/", "/healthz", "/ui/", "/metrics", "*", "http://localhost/healthz", "//function/echo",
    "/system/functions", "/system/function/echo", "/system/scale-function/echo",
    "/system/namespaces", "/system/namespace/", "/system/namespace/dev", "/system/secrets",
    "/system/logs?name=raises&follow=true&tail=-1", "/system/info", "/system/alert",
    "/system/functions?namespace=dev", "/function/echo", "/function/echo/a%3Fb%2525/../x",
    "/function/aborts", "/function/raises", "/function/hangs", "/function/odd", "/function/none.x",
    "/async-function/echo/a?b", "/function/echo/%25zz", "/function/echo/%0A", "/%zz",
]  # fmt: skip
FIELDS = [
    "Host: localhost", "Host: evil.example", "Content-Length: 3", "Content-Length: -1",
    "Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive",
    "Expect: 100-continue", "Origin: http://evil.example", "Authorization: Basic YTpi",
    "Accept: text/event-stream", "Accept-Encoding: gzip", "X-Call-Id: own", "X-Call-Id:",
    "X-Callback-Url: http://[::1", "X-Callback-Url: http://127.0.0.1:1/", "X-Topic: \xe9\xff",
    "Content-Type: a/b", "X-Start-Time: 1", "Upgrade: x",
]  # fmt: skip
BODIES = [
    b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"{}", b"null", b"[]", b"[" * 3000,
    b'{"service":"new","image":"i","annotations":{"topic":"t"},"labels":null}',
    b'{"functionName":"echo"}', b'{"serviceName":"echo","replicas":3}', b'{"name":"dev"}',
    b'{"name":"key","rawValue":"aHVzaA==","value":"v"}',
    b'{"alerts":[{"status":"firing","labels":{"function_name":"echo"}}]}',
]  # fmt: skip


def odd(call: Call) -> Answer:
    """An answer out of the body: any status and fields, as a broken function gives them."""
    status, _, rest = call.body.partition(b" ")
    name, _, value = rest.partition(b":")
    fields = ((name.decode("latin-1"), value.decode("latin-1")),)
    return Answer(int(status) if status.isdigit() else 200, fields, rest)


def aborts(_call: Call) -> Answer:
    raise FunctionAbortedError


async def hangs(_call: Call) -> None:
    await asyncio.Event().wait()


FUNCTIONS = [
    LocalFunction(name="echo", answer=lambda call: call.body),
    LocalFunction(name="raises", answer=lambda call: 1 // 0),
    LocalFunction(name="aborts", answer=aborts),
    LocalFunction(name="hangs", answer=hangs),
    LocalFunction(name="odd", answer=odd),
]


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self, connection: Connection) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000)})
        self.connection = connection
        self.written = bytearray()
        self.closed = False
        connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed, "written after the end"
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Nothing more will be written."""

    def pause_reading(self) -> None:
        """The input is given at once all the same."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    abort = close


class Target:
    """One gateway after another, each for so many inputs."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.failures: list[object] = []
        self.inputs = 0
        self.gateway: LocalGateway | None = None
        self.server: Server | None = None
        self.answered: list[str] = []
        runner.get_loop().set_exception_handler(lambda _, context: self.failures.append(context))

    def __call__(self, data: bytes) -> None:
        self.runner.run(self.run(data))

    async def run(self, data: bytes) -> None:
        if self.inputs % INPUTS_PER_GATEWAY == 0:
            await self.renew()
        self.inputs += 1
        await self.talk(pieces(data))
        alive = await self.talk([b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
        assert alive == [200], alive
        assert self.server is not None
        assert self.server.internal_errors == 0, "a handler raised"
        assert not self.failures, self.failures

    async def renew(self) -> None:
        await self.end()
        self.gateway = LocalGateway(
            functions=FUNCTIONS, namespaces=["dev"], allow_deploy=True, workers=0
        )
        await self.gateway.__aenter__()
        inner = self.gateway._server
        assert inner is not None
        routes = inner.handler

        def handler(request: Request, peer: str) -> object:
            self.answered.append(request.method)
            return routes(request, peer)

        limits = ServerLimits(max_head_bytes=4096, max_body_bytes=8192)
        self.server = Server(handler, limits, bad_request=inner.bad_request)

    async def end(self) -> None:
        if self.server is not None:
            await self.server.close()
        if self.gateway is not None:
            await self.gateway.aclose()

    async def talk(self, parts: list[bytes]) -> list[int]:
        """Send the parts over one connection; the statuses of its answers."""
        assert self.server is not None
        self.answered.clear()
        wire = Wire(Connection(self.server))
        for part in parts:
            if not wire.closed:
                wire.connection.data_received(part)
            await asyncio.sleep(0)
        await settle()
        if not wire.closed and not wire.connection.eof_received():
            wire.close()
        await settle()
        wire.close()
        await settle()
        return statuses(bytes(wire.written), self.answered)


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


HEAD = re.compile(
    rb"HTTP/1\.[01] ([1-9][0-9]{2}) [^\r\n]*\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\r\n\0]*\r\n)*)\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def statuses(data: bytes, methods: list[str]) -> list[int]:
    """The statuses of a stream of answers; what a connection's end cut off may be missing.

    Args:
        methods: of the requests that were understood; one more answer may refuse the rest.
    """
    found: list[int] = []
    for method in [*methods, "GET"]:
        while data.startswith(CONTINUE):
            data = data[len(CONTINUE) :]
        if not data:
            break
        head = HEAD.match(data)
        assert head is not None, data[:200]
        found.append(int(head[1]))
        data = after_body(data[head.end() :], head, method)
    assert not data, data[:200]
    return found


def after_body(data: bytes, head: re.Match[bytes], method: str) -> bytes:
    fields = head[2].lower()
    length = re.findall(rb"^content-length: ([0-9]+)\r$", fields, re.MULTILINE)
    chunked = fields.count(b"transfer-encoding: chunked\r\n")
    assert len(length) + chunked <= 1, fields
    if method == "HEAD" or head[1] in {b"204", b"304"}:
        return data
    if not chunked:
        return data[int(length[0]) :] if length else b""
    while data:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        assert data[size:].startswith(b"\r\n") or len(data) <= size + 1
        data = data[size + 2 :]
        if not size:
            break
    return data


def pieces(data: bytes) -> list[bytes]:
    """Bytes to send, cut in pieces: raw ones, or requests put together from what is known."""
    fuzz = atheris.FuzzedDataProvider(data)
    if fuzz.ConsumeIntInRange(0, 3) == 0:
        stream = fuzz.ConsumeBytes(4000)
    else:
        stream = b"".join(request(fuzz) for _ in range(fuzz.ConsumeIntInRange(1, 4)))
    cuts = sorted(
        fuzz.ConsumeIntInRange(0, len(stream)) for _ in range(fuzz.ConsumeIntInRange(0, 3))
    )
    edges = [0, *cuts, len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def request(fuzz: atheris.FuzzedDataProvider) -> bytes:
    path = fuzz.PickValueInList(PATHS)
    if fuzz.ConsumeBool():
        path += fuzz.ConsumeBytes(fuzz.ConsumeIntInRange(0, 20)).decode("latin-1")
    body = fuzz.PickValueInList(BODIES)
    if fuzz.ConsumeIntInRange(0, 3) == 0:
        body = fuzz.ConsumeBytes(fuzz.ConsumeIntInRange(0, 300))
    lines = [f"{fuzz.PickValueInList(METHODS)} {path} HTTP/1.{fuzz.ConsumeIntInRange(0, 2)}"]
    lines += [fuzz.PickValueInList(FIELDS) for _ in range(fuzz.ConsumeIntInRange(0, 5))]
    if fuzz.ConsumeIntInRange(0, 4):
        lines += ["Host: localhost"]
    if fuzz.ConsumeIntInRange(0, 4):
        lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def seeds() -> list[bytes]:
    return [bytes([1, *range(number, number + 60)]) for number in range(0, 180, 20)] + [
        b"\x00GET /system/functions HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00POST /function/odd HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n200 a:b",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("files", nargs="*", help="inputs to run again, instead of fuzzing")
    options = parser.parse_args()

    # What a deployment asks to be run is never run here.
    def of_deployment(*_: object) -> object:
        return lambda _log: Unsupported("not while fuzzing")

    Makers.of_deployment = of_deployment  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as corpus, asyncio.Runner() as runner:
        target = Target(runner)
        for number, seed in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        if options.files:
            for file in options.files:
                target(Path(file).read_bytes())
            runner.run(target.end())
            return
        limits = ["-max_len=4096", "-len_control=0", "-timeout=20"]
        time = f"-max_total_time={options.seconds}"
        atheris.Setup([sys.argv[0], time, *limits, corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
