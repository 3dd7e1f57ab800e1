"""The JSON of the gateway's `/system` routes (gateway contract, section 10)."""

from __future__ import annotations

from typing import TypeVar, cast

import msgspec

StringMap = dict[str, str]


class Deployment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """FunctionDeployment: what a client asks to be run."""

    service: str
    image: str = ""
    namespace: str = ""
    env_process: str = ""
    env_vars: StringMap = {}
    constraints: list[str] = []
    secrets: list[str] = []
    labels: StringMap = {}
    annotations: StringMap = {}
    limits: StringMap = {}
    requests: StringMap = {}
    read_only_root_filesystem: bool = False


class FunctionStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What the gateway says of a function; what is empty is left out."""

    name: str
    image: str
    namespace: str = ""
    env_process: str = ""
    env_vars: StringMap = {}
    constraints: list[str] = []
    secrets: list[str] = []
    labels: StringMap = {}
    annotations: StringMap = {}
    limits: StringMap = {}
    requests: StringMap = {}
    read_only_root_filesystem: bool = False
    invocation_count: int = 0
    replicas: int = 0
    available_replicas: int = 0
    created_at: str


class DeleteRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What DELETE /system/functions takes."""

    function_name: str = ""
    namespace: str = ""


class ScaleRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What POST /system/scale-function/NAME takes."""

    service_name: str = ""
    replicas: int = 0
    namespace: str = ""


class Namespace(msgspec.Struct, frozen=True, omit_defaults=True):
    """FunctionNamespace."""

    name: str
    annotations: StringMap = {}
    labels: StringMap = {}


class Secret(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A secret as a client sends it, or, without a value, as it is listed."""

    name: str
    namespace: str = ""
    value: str = ""
    raw_value: bytes = b""
    """base64 on the wire."""

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r}, namespace={self.namespace!r}, value=***)"


class LogMessage(msgspec.Struct, frozen=True):
    """One line of a function's log."""

    name: str
    namespace: str
    instance: str
    timestamp: str
    text: str


class Alert(msgspec.Struct, frozen=True):
    """One alert of Alertmanager's message."""

    status: str = ""
    labels: StringMap = {}


class AlertMessage(msgspec.Struct, frozen=True):
    """What POST /system/alert takes."""

    status: str = ""
    alerts: list[Alert] = []


Shape = TypeVar("Shape", bound=msgspec.Struct)


def read(body: bytes, shape: type[Shape]) -> Shape:
    """A request's JSON as Go reads it into a struct: a null leaves the field empty.

    Raises:
        ValueError: it is no JSON, or of another shape.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
        return msgspec.convert(
            {name: _filled(value) for name, value in fields.items() if value is not None}, shape
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _filled(value: object) -> object:
    if not isinstance(value, dict):
        return value
    pairs = cast("dict[str, object]", value)
    return {key: "" if item is None else item for key, item in pairs.items()}
