"""A function that runs already, somewhere with a URL: in a debugger, in a container."""

from __future__ import annotations

from faas_connector.errors import ConfigError, TransportError
from faas_connector.gateway.http1 import request_head
from faas_connector.gateway.origin import Origin
from faas_connector.gateway.transport import Transport
from faas_connector.local.function import Answer, Call, FunctionAbortedError, Log, pod_name

URL_ANNOTATION = "faas-connector.local.url"

_MAX_ANSWER = 256 * 1024 * 1024
_MAX_CONNECTIONS = 256
# RFC 9110, 7.6.1; lengths are ours to say on each side.
_HOP_BY_HOP = frozenset({
    "connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "content-length",
})  # fmt: skip
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class UrlRunner:
    """Forwards calls to a URL; the call's path comes behind the URL's own.

    No answer is a `FunctionAbortedError`, with the reason in the log.

    Raises:
        ConfigError: the URL can't be called.
    """

    def __init__(self, name: str, url: str, *, log: Log) -> None:
        self.instance = pod_name(name)
        self._origin = Origin.parse(url, field=URL_ANNOTATION)
        self._log = log
        self._transport: Transport | None = None

    async def start(self) -> None:
        if self._transport is None:
            self._transport = Transport(
                self._origin, max_connections=_MAX_CONNECTIONS, max_response_bytes=_MAX_ANSWER
            )

    async def call(self, call: Call) -> Answer:
        if self._transport is None:
            raise FunctionAbortedError
        fields = [("Host", self._origin.host_header), *_end_to_end(call.headers)]
        if call.body or call.method not in _WITHOUT_BODY:
            fields.append(("Content-Length", str(len(call.body))))
        target = self._origin.base_path + call.path + (f"?{call.query}" if call.query else "")
        try:
            head = request_head(call.method, target, fields)
            answer = await self._transport.request(head, call.body)
        except (TransportError, ConfigError) as error:
            self._log(f"{self._origin} gave no answer: {error}")
            raise FunctionAbortedError from error
        return Answer(answer.status, _end_to_end(answer.headers.fields), answer.body)

    async def stop(self) -> None:
        transport, self._transport = self._transport, None
        if transport:
            await transport.aclose()


def _end_to_end(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in fields if name.lower() not in _HOP_BY_HOP)
