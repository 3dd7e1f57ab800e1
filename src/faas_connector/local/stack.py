"""stack.yaml, read as faas-cli reads it.

Taken from faas-cli: environment substitution over the whole file, the first document only, names
it doesn't know are ignored (here they give a warning with the nearest right name), a name given
twice is an error, scalars in maps are taken literally (`attempts: 30` is "30", `yes` is "yes"),
`environment_file` wins over `environment`, a later file over an earlier one.

Paths are relative to the stack file's folder, else, where nothing is there, to the current one
(faas-cli knows only the latter, which is the same for whoever runs it beside the file).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from faas_connector.local.stack_nodes import Entry, Map, Mistake, Nodes, StackError
from faas_connector.local.substitution import Substituted

__all__ = ["Stack", "StackError", "StackFunction", "examine_stack", "local_secrets", "read_stack"]

_PROVIDER = "openfaas"
_VERSION = "1.0"
_SETTINGS = "sources"  # what a file of settings has, and no stack file
_TOP_FIELDS = ("version", "provider", "functions", "configuration")
_PROVIDER_FIELDS = ("name", "gateway", "network")
_FUNCTION_FIELDS = (
    "lang", "handler", "image", "fprocess", "environment", "environment_file", "secrets",
    "annotations", "labels", "namespace", "constraints", "limits", "requests",
    "readonly_root_filesystem", "skip_build", "build_options", "build_args", "build_secrets",
    "platforms",
)  # fmt: skip
# The gateway's routes accept no other characters (gateway contract, "Listeners and routes").
_FUNCTION_NAME = re.compile(r"[-a-zA-Z0-9_.]+")


class StackFunction(msgspec.Struct, frozen=True, kw_only=True):
    """One function as the stack file defines it."""

    name: str
    namespace: str = ""
    lang: str = ""
    handler: Path | None = None
    """The folder of its code, absolute; it need not exist."""
    image: str = ""
    fprocess: str | None = None
    """The command it runs as: the key of this name, else the one in `environment`."""
    environment: dict[str, str] = {}
    """With what its `environment_file`s say."""
    secrets: tuple[str, ...] = ()
    """Names only."""
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    constraints: tuple[str, ...] = ()
    limits: dict[str, str] = {}
    requests: dict[str, str] = {}
    read_only: bool = False
    lines: dict[str, int] = {}
    """Where it stands in the file, from 1: `name`, each field, and `FIELD.KEY` for maps."""


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """A stack file."""

    path: Path
    """As it was given."""
    gateway: str
    """`provider.gateway`, or empty."""
    functions: tuple[StackFunction, ...]
    """In the order of the file."""
    warnings: tuple[Mistake, ...]
    """What faas-cli would ignore in silence."""


def read_stack(path: str | Path, environ: Mapping[str, str]) -> Stack:
    """Read a stack file.

    Args:
        path: the file.
        environ: the values of `${NAME}`; usually `os.environ`.

    Raises:
        StackError: it can't be read, or has mistakes that faas-cli would refuse as well; the
            message holds the first.
    """
    stack, mistakes = examine_stack(path, environ)
    if mistakes:
        more = len(mistakes) - 1
        hint = f" (and {more} more, see: faas-connector check --stack {path})" if more else ""
        raise StackError(f"{mistakes[0]}{hint}")
    return stack


def examine_stack(
    path: str | Path, environ: Mapping[str, str]
) -> tuple[Stack, tuple[Mistake, ...]]:
    """Read a stack file with all its mistakes; what is wrong is left out of the stack.

    Raises:
        StackError: it can't be read at all.
    """
    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StackError(
            f"{path}: can't read the stack file ({error.strerror}); name one with --stack FILE"
        ) from error
    except UnicodeDecodeError as error:
        raise StackError(f"{path}: the stack file is no UTF-8 text ({error.reason})") from error
    substituted = Substituted(source, environ)
    nodes = Nodes(path, substituted)
    for mistake in substituted.mistakes:
        nodes.note(mistake.line, str(mistake))
    reader = _Reader(nodes)
    stack = reader.stack()
    return stack, tuple(dict.fromkeys(reader.nodes.mistakes))


def local_secrets(folder: Path) -> dict[str, bytes]:
    """The secrets kept as files in `folder/.secrets`, where `faas-cli local-run` looks too."""
    found: dict[str, bytes] = {}
    if (secrets := folder / ".secrets").is_dir():
        for file in sorted(secrets.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                found[file.name] = file.read_bytes()
    return found


class _Reader:
    """Reads one stack file."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes

    def stack(self) -> Stack:
        nodes = self.nodes
        root = nodes.compose()
        if root is None:
            if not nodes.mistakes:
                nodes.note(1, "it is empty; begin with 'provider: {name: openfaas}'")
            raise StackError(str(nodes.mistakes[0]))
        fields = nodes.map(root, "the file", "provider: …")
        gateway = ""
        functions: list[StackFunction] = []
        if fields is not None:
            self._recognise(root, fields)
            nodes.check_names(root, fields, _TOP_FIELDS, "the file")
            self._check_version(fields.get("version"))
            if "provider" not in nodes.unread:
                gateway = self._provider(root, fields.get("provider"))
            functions = self._functions(fields.get("functions"))
        return Stack(
            path=nodes.path,
            gateway=gateway,
            functions=tuple(functions),
            warnings=tuple(nodes.warnings),
        )

    def _recognise(self, root: yaml.Node, fields: Map) -> None:
        if _SETTINGS in fields and not {"provider", "functions"} & fields.keys():
            line = self.nodes.key_lines(root)[_SETTINGS]
            path = self.nodes.path
            raise StackError(
                f"{path}:{line}: this is a file of settings for run, which names sources, not "
                f"functions; check it with faas-connector check -f {path}"
            )

    def _check_version(self, node: yaml.Node | None) -> None:
        text = self.nodes.text(node, "version", _VERSION) if node else None
        if node and text and text != _VERSION:
            self.nodes.complain(node, "version", text, f"the only version is {_VERSION!r}")

    def _provider(self, root: yaml.Node, node: yaml.Node | None) -> str:
        fields = self.nodes.map(node, "provider", "name: openfaas") if node else {}
        if fields is None:
            return ""
        name_node = fields.get("name")
        name = self.nodes.text(name_node, "provider.name", _PROVIDER) if name_node else ""
        if name is not None and name != _PROVIDER:
            where = name_node or node or root
            self.nodes.complain(where, "provider.name", name, "write 'name: openfaas'")
        if node:
            self.nodes.check_names(node, fields, _PROVIDER_FIELDS, "provider")
        gateway = fields.get("gateway")
        example = "http://127.0.0.1:8080"
        return (gateway and self.nodes.text(gateway, "provider.gateway", example)) or ""

    def _functions(self, node: yaml.Node | None) -> list[StackFunction]:
        if node is None:
            return []
        entries = self.nodes.map(node, "functions", "printer: {lang: python3-http, …}") or {}
        lines = self.nodes.key_lines(node)
        return [self._function(name, entries[name], lines[name]) for name in entries]

    def _function(self, name: str, node: yaml.Node, line: int) -> StackFunction:
        if not _FUNCTION_NAME.fullmatch(name):
            self.nodes.note(
                line,
                f"{name!r} is no function name: letters, digits, '-', '_' and '.' only, "
                "for example 'send-mail'",
            )
        fields = self.nodes.map(node, f"functions.{name}", "lang: python3-http") or {}
        self.nodes.check_names(node, fields, _FUNCTION_FIELDS, f"function {name}")
        entry = Entry(self.nodes, name, fields)
        environment = entry.strings("environment", "LEVEL: debug")
        for file in entry.texts("environment_file", "- env.yaml"):
            environment |= self._environment_file(file, fields["environment_file"])
        handler = entry.text("handler", "./printer")
        annotations = entry.strings("annotations", "topic: payment.received")
        labels = entry.strings("labels", "tier: backend")
        lines = {"name": line, **self.nodes.key_lines(node)}
        for field in ("environment", "annotations", "labels"):
            if map_node := fields.get(field):
                inner = self.nodes.key_lines(map_node)
                lines |= {f"{field}.{key}": at for key, at in inner.items()}
        return StackFunction(
            name=name,
            namespace=entry.text("namespace", "openfaas-fn"),
            lang=entry.text("lang", "python3-http"),
            handler=self._resolve(handler) if handler else None,
            image=entry.text("image", "printer:latest"),
            fprocess=entry.text("fprocess", "cat") or environment.get("fprocess") or None,
            environment=environment,
            secrets=entry.texts("secrets", "- api-key"),
            annotations=annotations,
            labels=labels,
            constraints=entry.texts("constraints", "- node.platform.os == linux"),
            limits=entry.strings("limits", "memory: 128Mi"),
            requests=entry.strings("requests", "memory: 64Mi"),
            read_only=entry.truth("readonly_root_filesystem"),
            lines=lines,
        )

    def _environment_file(self, file: str, node: yaml.Node) -> dict[str, str]:
        path = self._resolve(file)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.nodes.complain(
                node, "environment_file", file,
                f"can't read {path} ({reason}); paths are relative to the stack file",
            )  # fmt: skip
            return {}
        # faas-cli substitutes in the stack file only.
        nodes = Nodes(path, Substituted(text.replace("$", "$$").replace("\\", "\\\\"), {}))
        nodes.mistakes = self.nodes.mistakes
        root = nodes.compose()
        fields = nodes.map(root, "the file", "environment: {…}") if root else {}
        return Entry(nodes, "", fields or {}).strings("environment", "LEVEL: debug")

    def _resolve(self, name: str) -> Path:
        beside = (self.nodes.path.absolute().parent / name).resolve()
        if not beside.exists() and (here := Path(name).absolute()).exists():
            return here.resolve()
        return beside
