"""What the local gateway knows: functions, namespaces and secrets. Plain state, no I/O."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from faas_connector.local.shapes import (
    Deployment,
    FunctionStatus,
    Namespace,
    ScaleRequest,
    Secret,
    StringMap,
)
from faas_connector.names import FunctionName

DEFAULT_NAMESPACE = "openfaas-fn"
MAX_REPLICAS = 5
CE_MAX_FUNCTIONS = 15
UNSUPPORTED_LABEL = "faas-connector.local.unsupported"
"""Stands on a listed function that can't run here, and says why."""

_ROUTE_NAME = re.compile(r"[-a-zA-Z_0-9.]+")
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


class Edition(enum.Enum):
    """Whose limits the gateway keeps."""

    UNLIMITED = "unlimited"
    """None: what the commercial editions allow."""
    CE = "ce"
    """The community edition: 15 functions, one namespace, no comma in `topic`."""


class RefusedError(Exception):
    """A request that the provider refuses."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Function(msgspec.Struct):
    """One function as it is deployed now."""

    name: FunctionName
    deployment: Deployment
    created_at: str
    replicas: int = 1
    available: int = 0
    unsupported: str = ""
    """Why it can't run here."""

    def __str__(self) -> str:
        if not self.unsupported:
            return str(self.name)
        return f"{self.name} ({self.unsupported.removeprefix(f'{self.name.name}: ')})"

    def status(self, invocations: int) -> FunctionStatus:
        """What the gateway says of it."""
        deployment = self.deployment
        return FunctionStatus(
            name=self.name.name,
            image=deployment.image,
            namespace=self.name.namespace,
            env_process=deployment.env_process,
            env_vars=deployment.env_vars,
            constraints=deployment.constraints,
            secrets=deployment.secrets,
            labels=self._labels(),
            annotations=deployment.annotations,
            limits=deployment.limits,
            requests=deployment.requests,
            read_only_root_filesystem=deployment.read_only_root_filesystem,
            invocation_count=invocations,
            replicas=self.replicas,
            available_replicas=self.available,
            created_at=self.created_at,
        )

    def _labels(self) -> StringMap:
        labels = self.deployment.labels
        return {**labels, UNSUPPORTED_LABEL: self.unsupported} if self.unsupported else labels

    @property
    def min_replicas(self) -> int:
        """Its label `com.openfaas.scale.min`; 1 without it."""
        return _label(self.deployment.labels, "com.openfaas.scale.min", 1)

    @property
    def max_replicas(self) -> int:
        """Its label `com.openfaas.scale.max`, never above 5."""
        return min(_label(self.deployment.labels, "com.openfaas.scale.max", 5), MAX_REPLICAS)

    def replicas_after(self, *, firing: bool) -> int:
        """How many replicas an alert asks for."""
        factor = _label(self.deployment.labels, "com.openfaas.scale.factor", 20)
        step = -(-self.max_replicas * factor // 100)
        if firing and step > 0:
            return min(self.replicas + step, self.max_replicas)
        return self.min_replicas


def _label(labels: StringMap, name: str, default: int) -> int:
    text = labels.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else default


def now_text() -> str:
    """The time in RFC 3339, as `createdAt` has it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Registry:
    """Functions, namespaces and secrets of one gateway.

    What a provider would refuse is a `RefusedError` with the provider's status and text.
    """

    def __init__(
        self,
        *,
        namespaces: Iterable[str] = (),
        edition: Edition = Edition.UNLIMITED,
        default_namespace: str = DEFAULT_NAMESPACE,
    ) -> None:
        self.edition = edition
        self.default_namespace = default_namespace
        self._namespaces: dict[str, Namespace] = {}
        self._functions: dict[str, dict[str, Function]] = {}
        self._secrets: dict[str, dict[str, bytes]] = {}
        for name in (default_namespace, *namespaces):
            self._add_namespace(Namespace(name))

    # Names

    def resolve(self, text: str) -> FunctionName:
        """The function that `/function/TEXT` means: split at the last dot, or the default."""
        name, dot, namespace = text.rpartition(".")
        if dot and name and namespace:
            return FunctionName(name, namespace)
        return FunctionName(text, self.default_namespace)

    def in_namespace(self, name: str, namespace: str) -> FunctionName:
        """A function named by a query or a body: an empty namespace is the default."""
        return FunctionName(name, namespace or self.default_namespace)

    # Functions

    def find(self, name: FunctionName) -> Function | None:
        """The function, if it is deployed."""
        return self._functions.get(name.namespace, {}).get(name.name)

    def functions(self, namespace: str = "") -> list[Function]:
        """The functions of one namespace, by name; an empty namespace is the default.

        Raises:
            RefusedError: there is no such namespace.
        """
        found = self._functions.get(namespace or self.default_namespace)
        if found is None:
            raise RefusedError(400, self._namespace_text())
        return sorted(found.values(), key=lambda function: function.name)

    def every_function(self) -> list[Function]:
        """The functions of all namespaces."""
        return [item for functions in self._functions.values() for item in functions.values()]

    def put(
        self, deployment: Deployment, *, replicas: int = 1, created_at: str | None = None
    ) -> Function:
        """Deploy, whether it exists or not.

        Raises:
            RefusedError: the provider refuses such a deployment.
        """
        name = self.check(deployment)
        function = Function(name, deployment, created_at or now_text(), replicas)
        self._functions[name.namespace][name.name] = function
        return function

    def create(self, deployment: Deployment) -> Function:
        """Deploy what does not exist (POST)."""
        name = self.check(deployment)
        if self.find(name) is not None:
            raise RefusedError(500, f'unable create Deployment: "{name.name}" already exists\n')
        return self.put(deployment)

    def update(self, deployment: Deployment) -> Function:
        """Replace what exists (PUT): its replicas and its `createdAt` stay."""
        name = self.check(deployment)
        old = self.find(name)
        if old is None:
            raise RefusedError(404, f'unable to find function deployment: "{name.name}"\n')
        return self.put(deployment, replicas=max(old.replicas, 1), created_at=old.created_at)

    def delete(self, name: FunctionName) -> Function:
        """Remove a function."""
        self._require_namespace(name.namespace)
        function = self._functions[name.namespace].pop(name.name, None)
        if function is None:
            raise RefusedError(404, f'unable to find function deployment: "{name.name}"\n')
        return function

    def check(self, deployment: Deployment) -> FunctionName:
        """The name to deploy it under, if the provider takes the deployment.

        Raises:
            RefusedError: it doesn't; the text says why.
        """
        name = self.in_namespace(deployment.service, deployment.namespace)
        if not deployment.service:
            raise RefusedError(400, "service: (name) is required\n")
        if not deployment.image:
            raise RefusedError(400, "image: is required\n")
        if not _ROUTE_NAME.fullmatch(name.name):
            raise RefusedError(
                400, f"service: ({name.name}) is invalid: letters, digits, '-', '_' and '.' only\n"
            )
        self._require_namespace(name.namespace)
        if self.edition is Edition.CE:
            self._check_ce(name, deployment)
        return name

    def _check_ce(self, name: FunctionName, deployment: Deployment) -> None:
        if not _LABEL.fullmatch(name.name):
            raise RefusedError(
                400, f"service: ({name.name}) is invalid, must be a valid RFC 1123 label\n"
            )
        if "," in deployment.annotations.get("topic", ""):
            raise RefusedError(400, "the Community Edition allows one topic per function\n")
        for key in deployment.annotations:
            if "amazonaws.com" in key or "gke.io" in key:
                raise RefusedError(400, f"annotation {key} is not allowed\n")
        if self.find(name) is None and len(self.every_function()) >= CE_MAX_FUNCTIONS:
            raise RefusedError(
                403, f"the Community Edition allows {CE_MAX_FUNCTIONS} functions at most\n"
            )

    # Namespaces

    def namespaces(self) -> list[str]:
        """The names of all namespaces, sorted."""
        return sorted(self._namespaces)

    def namespace(self, name: str) -> Namespace:
        """One namespace."""
        found = self._namespaces.get(name)
        if found is None:
            raise RefusedError(404, f"namespace {name} not found\n")
        return found

    def create_namespace(self, namespace: Namespace) -> None:
        """Add a namespace (POST)."""
        if not _LABEL.fullmatch(namespace.name):
            raise RefusedError(400, "namespace name is invalid, must be a valid RFC 1123 label\n")
        if namespace.name in self._namespaces:
            raise RefusedError(409, f"namespace {namespace.name} already exists\n")
        self._add_namespace(namespace)

    def update_namespace(self, namespace: Namespace) -> None:
        """Replace a namespace's labels and annotations (PUT)."""
        self.namespace(namespace.name)
        self._namespaces[namespace.name] = namespace

    def delete_namespace(self, name: str) -> list[Function]:
        """Remove a namespace; gives the functions that went with it."""
        self.namespace(name)
        if name == self.default_namespace:
            raise RefusedError(400, f"the default namespace {name} can't be deleted\n")
        del self._namespaces[name]
        self._secrets.pop(name)
        return list(self._functions.pop(name).values())

    def ensure_namespace(self, name: str) -> None:
        """Add a namespace unless it is there; the community edition has one only."""
        if name and name not in self._namespaces and self.edition is not Edition.CE:
            self.create_namespace(Namespace(name))

    def _add_namespace(self, namespace: Namespace) -> None:
        self._namespaces[namespace.name] = namespace
        self._functions.setdefault(namespace.name, {})
        self._secrets.setdefault(namespace.name, {})

    def _require_namespace(self, name: str) -> None:
        if name not in self._namespaces:
            raise RefusedError(400, self._namespace_text())

    def _namespace_text(self) -> str:
        if self.edition is Edition.CE:
            return f"namespace must be: {self.default_namespace}\n"
        return "namespace not valid\n"

    # Secrets

    def secrets(self, namespace: str = "") -> list[Secret]:
        """The secrets of one namespace: names only, never values."""
        namespace = namespace or self.default_namespace
        self._require_namespace(namespace)
        return [Secret(name, namespace) for name in sorted(self._secrets[namespace])]

    def secret_values(self, namespace: str) -> Mapping[str, bytes]:
        """The values, for the functions of that namespace only."""
        return self._secrets.get(namespace, {})

    def put_secret(self, secret: Secret) -> None:
        """Set a secret, whether it exists or not."""
        self._secrets_of(secret)[secret.name] = secret.raw_value or secret.value.encode()

    def create_secret(self, secret: Secret) -> None:
        """Add a secret (POST)."""
        values = self._secrets_of(secret)
        if secret.name in values:
            raise RefusedError(409, f'secrets "{secret.name}" already exists\n')
        values[secret.name] = secret.raw_value or secret.value.encode()

    def update_secret(self, secret: Secret) -> None:
        """Replace a secret's value (PUT)."""
        values = self._secrets_of(secret)
        if secret.name not in values:
            raise RefusedError(404, f'secrets "{secret.name}" not found\n')
        values[secret.name] = secret.raw_value or secret.value.encode()

    def delete_secret(self, secret: Secret) -> None:
        """Remove a secret."""
        if self._secrets_of(secret).pop(secret.name, None) is None:
            raise RefusedError(404, f'secrets "{secret.name}" not found\n')

    def _secrets_of(self, secret: Secret) -> dict[str, bytes]:
        namespace = secret.namespace or self.default_namespace
        self._require_namespace(namespace)
        if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", secret.name) or set(secret.name) == {"."}:
            raise RefusedError(400, "secret name is invalid: letters, digits, '-', '_' and '.'\n")
        return self._secrets[namespace]

    # Replicas

    def scale(
        self, name: FunctionName, request: ScaleRequest, *, to_zero: bool = False
    ) -> Function:
        """Set a function's replicas, clamped to 1..5; 0 stays 0 where scaling to zero is on."""
        function = self.find(name)
        if function is None:
            raise RefusedError(404, f'unable to find function deployment: "{name.name}"\n')
        lowest = 0 if to_zero else 1
        function.replicas = max(lowest, min(request.replicas, MAX_REPLICAS))
        return function
