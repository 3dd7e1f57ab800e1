"""What runs a function of the stack file, or one that is deployed by API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from faas_connector.local.environment import SecretValue
from faas_connector.local.function import Log, Runner, Unsupported
from faas_connector.local.instances import RunnerMaker
from faas_connector.local.runners import runner_for
from faas_connector.local.shapes import Deployment
from faas_connector.local.stack import Stack, StackFunction, local_secrets
from faas_connector.local.url_function import URL_ANNOTATION

# What faas-cli sends for a Python template (by its template.yml): the template's own index.py,
# which only the image has.
_TEMPLATE_PROCESSES = frozenset({"python index.py", "python3 index.py"})

Secrets = Callable[[str], Mapping[str, bytes]]
"""Gives the secrets of a namespace."""


def stack_deployment(function: StackFunction) -> Deployment:
    """A stack's function as faas-cli would deploy it."""
    return Deployment(
        service=function.name,
        image=function.image or f"local/{function.name}",
        namespace=function.namespace,
        env_process=function.fprocess or "",
        env_vars=function.environment,
        constraints=list(function.constraints),
        secrets=list(function.secrets),
        labels=function.labels,
        annotations=function.annotations,
        limits=function.limits,
        requests=function.requests,
        read_only_root_filesystem=function.read_only,
    )


class Makers:
    """Knows the stack, and finds what runs a deployment."""

    def __init__(self, stack: Stack | None, secrets: Secrets) -> None:
        self._functions = () if stack is None else stack.functions
        self._folder = Path.cwd() if stack is None else stack.path.absolute().parent
        self._secrets = secrets

    @property
    def functions(self) -> tuple[StackFunction, ...]:
        """The stack's functions."""
        return self._functions

    def stack_secrets(self) -> dict[str, bytes]:
        """The secrets that lie beside the stack file."""
        return local_secrets(self._folder) if self._functions else {}

    def of_stack(self, function: StackFunction, namespace: str) -> RunnerMaker:
        """What runs a function of the stack, in its full namespace."""
        secret = self._secret(namespace)

        def make(log: Log) -> Runner | Unsupported:
            return runner_for(function, folder=self._folder, secret=secret, log=log)

        return make

    def of_deployment(self, deployment: Deployment, namespace: str) -> RunnerMaker:
        """What runs a deployment: its process or URL, else a handler of the stack."""
        known = self._known(deployment)
        process = deployment.env_process or deployment.env_vars.get("fprocess", "")
        if known is not None and process in _TEMPLATE_PROCESSES:
            process = ""
        if known is None and not process and URL_ANNOTATION not in deployment.annotations:
            return _unsupported(deployment)
        function = StackFunction(
            name=deployment.service,
            namespace=namespace,
            lang="" if known is None else known.lang,
            handler=None if known is None else known.handler,
            image=deployment.image,
            fprocess=process or (None if known is None else known.fprocess),
            environment=deployment.env_vars,
            secrets=tuple(deployment.secrets),
            annotations=deployment.annotations,
        )
        return self.of_stack(function, namespace)

    def _known(self, deployment: Deployment) -> StackFunction | None:
        for function in self._functions:
            if function.name == deployment.service:
                return function
        for function in self._functions:
            if function.image and function.image == deployment.image:
                return function
        return None

    def _secret(self, namespace: str) -> SecretValue:
        return lambda name: self._secrets(namespace).get(name)


def _unsupported(deployment: Deployment) -> RunnerMaker:
    reason = (
        f"{deployment.service}: no images run here; give it an fprocess, or start the gateway "
        f"with a stack.yaml that has a function of this name, or of image {deployment.image}"
    )
    return lambda _log: Unsupported(reason)
