"""The gateway's routes, as a connector uses them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import msgspec

from faas_connector.auth import Auth
from faas_connector.config import ControllerConfig
from faas_connector.errors import (
    GatewayAuthError,
    GatewayError,
    GatewayResponseError,
    GatewayUnavailableError,
    TransportError,
)
from faas_connector.gateway.http1 import RawResponse
from faas_connector.gateway.models import (
    FunctionStatus,
    GatewayInfo,
    decode_functions,
    decode_info,
    decode_namespaces,
    split_functions,
)
from faas_connector.gateway.transport import Origin, Transport, request_head
from faas_connector.names import FunctionName, Invocation

S = TypeVar("S")
T = TypeVar("T")

# 10,000 functions are some 5.5 MB.
_MAX_LIST_BYTES = 256 * 1024 * 1024
# Functions that are decoded before calls may run in between: 1 ms at the most.
_DECODED_AT_A_TIME = 1000
_SYSTEM_CONNECTIONS = 8
_ROUTES = {Invocation.SYNC: "/function/", Invocation.ASYNC: "/async-function/"}


class GatewayClient:
    """One gateway: asks for functions and namespaces, and passes calls on.

    Calls and questions have connections of their own, so that neither waits for the other; the
    credentials go with the questions only.
    """

    def __init__(self, config: ControllerConfig) -> None:
        """Prepare; nothing is connected before the first request."""
        self.origin = Origin.parse(config.gateway_url)
        self._auth = config.auth
        self._user_agent = config.user_agent
        self._timeout = config.timeouts.system
        self._system = Transport(
            self.origin,
            tls=config.tls,
            connect_timeout=config.timeouts.connect,
            max_connections=_SYSTEM_CONNECTIONS,
            max_response_bytes=_MAX_LIST_BYTES,
        )
        self.calls = Transport(
            self.origin,
            tls=config.tls,
            connect_timeout=config.timeouts.connect,
            read_timeout=config.timeouts.read,
            max_connections=config.limits.max_in_flight,
            max_response_bytes=config.limits.max_response_bytes,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; calls still running fail."""
        await self.calls.aclose()
        await self._system.aclose()

    def call_target(self, function: FunctionName, invocation: Invocation) -> str:
        """The request target that calls a function."""
        return self.origin.base_path + _ROUTES[invocation] + quote(str(function), safe="-_.")

    async def functions(self, namespace: str = "") -> list[FunctionStatus]:
        """The functions of one namespace, or of the provider's default one (section 4.1).

        Raises:
            GatewayError: why there is no list; one of its three kinds.
        """
        query = f"?namespace={quote(namespace, safe='')}" if namespace else ""
        path = f"/system/functions{query}"
        body = await self._ask(path)
        entries = self._read(split_functions, body, path, body)
        found: list[FunctionStatus] = []
        for at in range(0, len(entries), _DECODED_AT_A_TIME):
            if at:
                await asyncio.sleep(0)
            some = entries[at : at + _DECODED_AT_A_TIME]
            found += self._read(decode_functions, some, path, body)
        return found

    async def namespaces(self) -> list[str]:
        """The namespaces; empty where the gateway doesn't know any (section 4.5).

        `[]`, `null`, an empty body, 404 and 501 all mean that.

        Raises:
            GatewayError: why there is no list; one of its three kinds.
        """
        path = "/system/namespaces"
        response = await self._request(path)
        if response.status in {404, 501}:
            return []
        body = self._checked(path, response)
        return self._read(decode_namespaces, body, path, body)

    async def info(self) -> GatewayInfo:
        """What the gateway says of itself (section 4.8).

        Raises:
            GatewayError: why it doesn't; one of its three kinds.
        """
        path = "/system/info"
        body = await self._ask(path)
        return self._read(decode_info, body, path, body)

    async def healthy(self, *, timeout: float | None = None) -> bool:
        """Whether `/healthz` answers 200, which asks the provider too (section 1).

        Args:
            timeout: seconds; default `timeouts.system`.
        """
        try:
            answer = await self._request("/healthz", authorized=False, timeout=timeout)
        except GatewayUnavailableError:
            return False
        return answer.status == 200

    async def _ask(self, path: str) -> bytes:
        return self._checked(path, await self._request(path))

    async def _request(
        self, path: str, *, authorized: bool = True, timeout: float | None = None
    ) -> RawResponse:
        fields = {
            "Host": self.origin.host_header,
            "User-Agent": self._user_agent,
            "Accept": "application/json",
        }
        if authorized and self._auth is not None:
            fields |= await _auth_fields(self._auth)
        head = request_head("GET", self.origin.base_path + path, fields.items())
        try:
            return await self._system.request(head, b"", timeout=timeout or self._timeout)
        except TransportError as error:
            raise GatewayUnavailableError(str(error)) from error

    def _checked(self, path: str, response: RawResponse) -> bytes:
        status = response.status
        if status == 200:
            return response.body
        where = f"{self.origin}{path}"
        if status in {401, 403}:
            known = self._auth is not None
            if status == 403:
                said = "forbids this to the credentials" if known else "forbids this"
            else:
                said = "refused the credentials" if known else "asks for credentials"
            hint = "check auth" if known else "set auth"
            raise GatewayAuthError(f"{where} {said} ({status}); {hint}", status=status)
        if location := response.headers.get("location"):
            raise GatewayResponseError(
                f"{where} redirects to {_excerpt(location.encode())} ({status}); "
                "use the address behind it as gateway_url",
                status=status,
            )
        hint = "is this an OpenFaaS gateway?" if status == 404 else "look at the gateway's log"
        said = _excerpt(response.body)
        raise GatewayResponseError(
            f"{where} answered {status}{f' ({said})' if said else ''}; {hint}", status=status
        )

    def _read(self, decode: Callable[[S], T], source: S, path: str, body: bytes) -> T:
        try:
            return decode(source)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise GatewayResponseError(
                f"{self.origin}{path} answered 200 with something else than it should "
                f"({_excerpt(body) or 'nothing'}); is this an OpenFaaS gateway?",
                status=200,
            ) from error


async def _auth_fields(auth: Auth) -> Mapping[str, str]:
    try:
        given = auth() if callable(auth) else auth.headers()
        fields = dict(await given if inspect.isawaitable(given) else given)
        if not all(isinstance(value, str) for value in fields.values()):
            raise TypeError("a value is no text")
        request_head("GET", "/", fields.items())  # refuses what can't be sent
    except (asyncio.CancelledError, GatewayError):
        raise
    except Exception as error:
        raise GatewayAuthError(
            f"auth failed to give credentials ({type(error).__name__}: {error}); "
            "it must return header fields, for example {'Authorization': 'Bearer …'}"
        ) from error
    return fields


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:400].decode("utf-8", "replace").split())
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return f"{shown[:160]}…" if len(shown) > 160 else shown
