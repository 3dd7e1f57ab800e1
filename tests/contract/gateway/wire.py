"""HTTP/1.1 over plain sockets, read without the project's own parser."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

from faas_connector._version import __version__
from faas_connector.testing import LocalGateway

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NANOSECONDS = re.compile(r"1[0-9]{18}")
SERVED_BY = f"openfaas-ce/{__version__}"
PAGE = b"404 page not found\n"
PLAIN = "text/plain; charset=utf-8"


@dataclass
class Response:
    """An answer as it came over the socket."""

    status: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def __getitem__(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


async def read_response(reader: asyncio.StreamReader, method: str = "GET") -> Response | None:
    """The next answer; None when the connection ends without a byte."""
    line = await reader.readline()
    if not line:
        return None
    version, status, _ = line.split(b" ", 2)
    assert version in {b"HTTP/1.1", b"HTTP/1.0"}, line
    response = Response(int(status))
    while (line := await reader.readline()) not in {b"\r\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        response.fields.append((name, value.strip()))
    if response.status == 100 or method == "HEAD" or response.status in {204, 304}:
        return response
    if response["Transfer-Encoding"] == "chunked":
        while size := int(await reader.readline(), 16):
            response.body += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readline() == b"\r\n"
    elif response["Content-Length"] is not None:
        response.body = await reader.readexactly(int(response["Content-Length"]))
    else:
        response.body = await reader.read()
    return response


def request(line: str, *fields: str, body: bytes | str = b"", length: bool = True) -> bytes:
    """A request's bytes; Host and Content-Length are added where they are missing."""
    data = body.encode() if isinstance(body, str) else body
    fields = tuple(f for f in fields if f)
    names = {f.partition(":")[0].lower() for f in fields}
    lines = [f"{line} HTTP/1.1", *fields]
    if "host" not in names:
        lines.insert(1, "Host: localhost")
    if length and (data or line.startswith("POST")) and "content-length" not in names:
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


class Client:
    """Sends bytes to a gateway, one connection a call."""

    def __init__(self, gateway: LocalGateway) -> None:
        self.gateway = gateway

    async def raw(self, data: bytes, method: str = "GET") -> Response | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        try:
            writer.write(data)
            async with asyncio.timeout(60):
                return await read_response(reader, method)
        finally:
            writer.close()
            await writer.wait_closed()

    async def __call__(self, line: str, *fields: str, body: bytes | str = b"") -> Response:
        response = await self.raw(request(line, *fields, body=body), line.partition(" ")[0])
        assert response is not None, "the connection was closed without a byte"
        return response

    async def closes(self, line: str, *fields: str, body: bytes | str = b"") -> bool:
        """Whether the connection is closed without a byte."""
        return await self.raw(request(line, *fields, body=body)) is None


def assert_page_not_found(response: Response) -> None:
    assert response.status == 404
    assert response["Content-Type"] == PLAIN
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response.body == PAGE
