"""The `/system` routes (section 4): each takes a request and gives an answer at once."""

from __future__ import annotations

import platform
from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from faas_connector._version import __version__
from faas_connector.gateway.http1 import Request
from faas_connector.local.instances import Instances, RunnerMaker
from faas_connector.local.logs import FunctionLog, LogRequest
from faas_connector.local.metrics import Metrics
from faas_connector.local.registry import Edition, Function, RefusedError, Registry
from faas_connector.local.shapes import (
    AlertMessage,
    DeleteRequest,
    Deployment,
    Namespace,
    ScaleRequest,
    Secret,
    StringMap,
    read,
)
from faas_connector.names import FunctionName
from faas_connector.serving.reply import JSON, PLAIN, Reply, empty, json, text

_FORBIDDEN = (
    "deploying, updating and removing functions by API is switched off; "
    "start the local gateway with --allow-deploy\n"
)


class SystemRoutes:
    """The gateway's own API."""

    def __init__(
        self,
        *,
        registry: Registry,
        instances: Instances,
        metrics: Metrics,
        log_of: Callable[[FunctionName], FunctionLog],
        maker_of: Callable[[Deployment, str], RunnerMaker],
        allow_deploy: bool,
        scale_to_zero: bool,
    ) -> None:
        self._registry = registry
        self._instances = instances
        self._metrics = metrics
        self._log_of = log_of
        self._maker_of = maker_of
        self._allow_deploy = allow_deploy
        self._scale_to_zero = scale_to_zero

    # /system/functions

    def list_functions(self, request: Request) -> Reply:
        """GET: the functions of one namespace."""
        try:
            functions = self._registry.functions(_query(request).get("namespace", ""))
        except RefusedError as error:
            # The gateway adds a line end to what its provider says (section 4.1).
            return text(error.status, f"{error.text}\n")
        counts = self._metrics.invocations()
        return json(
            msgspec.json.encode(
                [function.status(counts.get(str(function.name), 0)) for function in functions]
            )
        )

    def create_function(self, request: Request) -> Reply:
        """POST: deploy what does not exist."""
        return self._deploy(request, self._registry.create)

    def update_function(self, request: Request) -> Reply:
        """PUT: replace what exists."""
        return self._deploy(request, self._registry.update)

    def _deploy(self, request: Request, store: Callable[[Deployment], Function]) -> Reply:
        if not self._allow_deploy:
            return text(403, _FORBIDDEN)
        try:
            function = store(read(request.body, Deployment))
        except ValueError as error:
            return text(400, f"unable to read the deployment: {error}\n")
        self._instances.deploy(
            function, self._maker_of(function.deployment, function.name.namespace)
        )
        return empty(202)

    def delete_function(self, request: Request) -> Reply:
        """DELETE: remove a function."""
        if not self._allow_deploy:
            return text(403, _FORBIDDEN)
        try:
            wanted = read(request.body, DeleteRequest)
        except ValueError as error:
            return text(400, f"unable to read what to delete: {error}\n")
        if not wanted.function_name:
            return text(400, "functionName: is required\n")
        name = self._registry.in_namespace(wanted.function_name, wanted.namespace)
        self._instances.remove(self._registry.delete(name).name)
        return empty(202)

    # One function

    def describe(self, request: Request, name: str) -> Reply:
        """GET /system/function/NAME: never splits the name (section 3)."""
        found = self._find(name, _query(request).get("namespace", ""))
        if found is None:
            return empty(404)
        count = self._metrics.invocations().get(str(found.name), 0)
        return json(msgspec.json.encode(found.status(count)))

    def scale(self, request: Request, name: str) -> Reply:
        """POST /system/scale-function/NAME: the namespace in the query or in the body."""
        try:
            wanted = read(request.body, ScaleRequest)
        except ValueError:
            return text(400, "Error unmarshalling request body\n")
        namespace = wanted.namespace or _query(request).get("namespace", "")
        full_name = self._registry.in_namespace(name, namespace)
        function = self._registry.scale(full_name, wanted, to_zero=self._scale_to_zero)
        self._instances.apply(function)
        return empty(202)

    def alert(self, request: Request) -> Reply:
        """POST /system/alert: Alertmanager asks for more replicas, or for the least."""
        try:
            message = read(request.body, AlertMessage)
        except ValueError:
            return Reply(400, (PLAIN,), b"Unable to parse alert, bad format.")
        for alert in message.alerts:
            name = self._registry.resolve(alert.labels.get("function_name", ""))
            function = self._registry.find(name)
            if function is not None:
                function.replicas = function.replicas_after(firing=alert.status == "firing")
                self._instances.apply(function)
        return empty(200)

    def _find(self, name: str, namespace: str) -> Function | None:
        return self._registry.find(self._registry.in_namespace(name, namespace))

    # Namespaces

    def list_namespaces(self, _request: Request) -> Reply:
        """GET /system/namespaces."""
        return json(msgspec.json.encode(self._registry.namespaces()))

    def namespace(self, request: Request, name: str) -> Reply:
        """/system/namespace/NAME; POST has the name in its body."""
        if self._registry.edition is Edition.CE:
            return text(501, "Feature not implemented in this version of OpenFaaS\n")
        if request.method == "GET":
            return json(msgspec.json.encode(self._registry.namespace(name)))
        try:
            wanted = read(request.body, Namespace)
        except ValueError as error:
            return text(400, f"unable to read the namespace: {error}\n")
        if request.method == "POST":
            self._registry.create_namespace(wanted)
            return empty(201)
        if request.method == "PUT":
            self._registry.update_namespace(msgspec.structs.replace(wanted, name=name))
            return empty(202)
        return self._delete_namespace(name)

    def _delete_namespace(self, name: str) -> Reply:
        if not self._allow_deploy:
            return text(403, _FORBIDDEN)
        for function in self._registry.delete_namespace(name):
            self._instances.remove(function.name)
        return empty(202)

    # Secrets

    def secrets(self, request: Request) -> Reply:
        """/system/secrets: values come in and are never given out."""
        if request.method == "GET":
            found = self._registry.secrets(_query(request).get("namespace", ""))
            return json(msgspec.json.encode(found))
        try:
            secret = read(request.body, Secret)
        except ValueError:
            return text(400, "unable to read the secret: it needs a name and a value\n")
        change = {
            "POST": self._registry.create_secret,
            "PUT": self._registry.update_secret,
            "DELETE": self._registry.delete_secret,
        }[request.method]
        change(secret)
        return empty(202)

    # Others

    def logs(self, request: Request) -> Reply:
        """GET /system/logs: ndjson, one object a line."""
        try:
            wanted = LogRequest.parse(_raw_query(request))
        except (ValueError, OverflowError):
            return text(500, "unknown log request error (400)\n")
        function = self._find(wanted.name, wanted.namespace)
        if function is None:
            return Reply(200, (PLAIN,))
        return Reply(200, (PLAIN,), stream=self._log_of(function.name).read(wanted))

    def info(self, _request: Request) -> Reply:
        """GET /system/info."""
        version = {"sha": "local", "release": __version__}
        document = {
            "provider": {
                "provider": "faas-connector-local",
                "version": version,
                "orchestration": "local",
            },
            "version": version,
            "arch": platform.machine(),
        }
        return json(msgspec.json.encode(document))

    def telemetry(self, _request: Request) -> Reply:
        """GET /system/telemetry: nothing is collected."""
        return Reply(200, (JSON,), b"{}")


def _raw_query(request: Request) -> str:
    return request.target.partition("?")[2]


def _query(request: Request) -> StringMap:
    """The first value of each name, as Go's `Query().Get` gives it."""
    return {name: values[0] for name, values in parse_qs(_raw_query(request)).items()}
