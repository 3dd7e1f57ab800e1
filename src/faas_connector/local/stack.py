"""stack.yaml, read as faas-cli reads it.

Taken from faas-cli: environment substitution over the whole file, the first document only, names
it doesn't know are ignored (here they give a warning with the nearest right name), a name given
twice is an error, scalars in maps are taken literally (`attempts: 30` is "30", `yes` is "yes"),
`environment_file` wins over `environment`, a later file over an earlier one.

Paths are relative to the stack file's folder, else, where nothing is there, to the current one
(faas-cli knows only the latter, which is the same for whoever runs it beside the file).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import yaml

from faas_connector.errors import ConfigError
from faas_connector.local.substitution import Substituted, SubstitutionError

_PROVIDER = "openfaas"
_VERSION = "1.0"
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
_TRUE, _FALSE = frozenset({"true", "yes", "on", "y"}), frozenset({"false", "no", "off", "n"})
_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class StackError(ConfigError):
    """A stack file that can't be read: the message holds file and line, field and an example."""


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
    warnings: tuple[str, ...]
    """What faas-cli would ignore in silence, each with file and line."""


def read_stack(path: str | Path, environ: Mapping[str, str]) -> Stack:
    """Read a stack file.

    Args:
        path: the file.
        environ: the values of `${NAME}`; usually `os.environ`.

    Raises:
        StackError: it can't be read, or has a mistake that faas-cli would refuse as well.
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
    try:
        substituted = Substituted(source, environ)
    except SubstitutionError as error:
        raise StackError(f"{path}:{error.line}: {error}") from error
    return _Reader(path, substituted).stack()


def local_secrets(folder: Path) -> dict[str, bytes]:
    """The secrets kept as files in `folder/.secrets`, where `faas-cli local-run` looks too."""
    found: dict[str, bytes] = {}
    if (secrets := folder / ".secrets").is_dir():
        for file in sorted(secrets.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                found[file.name] = file.read_bytes()
    return found


_Map = dict[str, yaml.Node]


class _Reader:
    """Reads the nodes of one file; every complaint names its file and line."""

    def __init__(self, path: Path, substituted: Substituted) -> None:
        self._path = path
        self._substituted = substituted
        self._warnings: list[str] = []
        self._key_lines: dict[int, dict[str, int]] = {}

    def stack(self) -> Stack:
        root = self.compose()
        if root is None:
            raise StackError(
                f"{self._path}:1: it is empty; begin with 'provider: {{name: openfaas}}'"
            )
        fields = self.map(root, "the file", "provider: …")
        self._check_names(root, fields, _TOP_FIELDS, "the file")
        if version := fields.get("version"):
            text = self.text(version, "version", _VERSION)
            if text not in {"", _VERSION}:
                raise self.wrong(version, "version", text, f"the only version is {_VERSION!r}")
        gateway = self._provider(root, fields.get("provider"))
        functions: list[StackFunction] = []
        if node := fields.get("functions"):
            entries = self.map(node, "functions", "printer: {lang: python3-http, …}")
            lines = self._key_lines[id(node)]
            functions = [self._function(name, entries[name], lines[name]) for name in entries]
        return Stack(
            path=self._path,
            gateway=gateway,
            functions=tuple(functions),
            warnings=tuple(self._warnings),
        )

    def compose(self) -> yaml.Node | None:
        try:
            # Like faas-cli, look at the first document only.
            for document in yaml.compose_all(self._substituted.text, Loader=_LOADER):
                return document
        except yaml.MarkedYAMLError as error:
            mark = _where(error)
            line = self._substituted.source_line(mark.line + 1) if mark else 1
            raise StackError(
                f"{self._path}:{line}: no YAML: {error.problem or error.context}; "
                "check the indentation and quotes of this line and the one above"
            ) from error
        except (yaml.YAMLError, RecursionError) as error:
            raise StackError(f"{self._path}: no YAML: {error}".split("\n")[0]) from error
        return None

    def _provider(self, root: yaml.Node, node: yaml.Node | None) -> str:
        fields = self.map(node, "provider", "name: openfaas") if node else {}
        name_node = fields.get("name")
        name = self.text(name_node, "provider.name", _PROVIDER) if name_node else ""
        if name != _PROVIDER:
            raise self.wrong(
                name_node or node or root, "provider.name", name, "write 'name: openfaas'"
            )
        if node:
            self._check_names(node, fields, _PROVIDER_FIELDS, "provider")
        gateway = fields.get("gateway")
        return self.text(gateway, "provider.gateway", "http://127.0.0.1:8080") if gateway else ""

    def _function(self, name: str, node: yaml.Node, line: int) -> StackFunction:
        if not _FUNCTION_NAME.fullmatch(name):
            raise StackError(
                f"{self._path}:{line}: {name!r} is no function name: letters, digits, '-', '_' "
                "and '.' only, for example 'send-mail'"
            )
        fields = self.map(node, f"functions.{name}", "lang: python3-http")
        self._check_names(node, fields, _FUNCTION_FIELDS, f"function {name}")
        entry = _Entry(self, name, fields)
        environment = entry.strings("environment", "LEVEL: debug")
        for file in entry.texts("environment_file", "- env.yaml"):
            environment |= self._environment_file(file, fields["environment_file"])
        handler = entry.text("handler", "./printer")
        annotations = entry.strings("annotations", "topic: payment.received")
        labels = entry.strings("labels", "tier: backend")
        lines = {"name": line, **self._key_lines.get(id(node), {})}
        for field in ("environment", "annotations", "labels"):
            if map_node := fields.get(field):
                inner = self._key_lines.get(id(map_node), {})
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
            raise self.wrong(
                node, "environment_file", file,
                f"can't read {path} ({error.strerror if isinstance(error, OSError) else error}); "
                "paths are relative to the stack file",
            ) from error  # fmt: skip
        # faas-cli substitutes in the stack file only.
        reader = _Reader(path, Substituted(text.replace("$", "$$").replace("\\", "\\\\"), {}))
        root = reader.compose()
        if root is None:
            return {}
        fields = reader.map(root, "the file", "environment: {…}")
        return _Entry(reader, "", fields).strings("environment", "LEVEL: debug")

    def _resolve(self, name: str) -> Path:
        beside = (self._path.absolute().parent / name).resolve()
        if not beside.exists() and (here := Path(name).absolute()).exists():
            return here.resolve()
        return beside

    def map(self, node: yaml.Node, field: str, example: str) -> _Map:
        """The entries of a map, merge keys resolved; empty for null. Remembers their lines."""
        if node.tag == _NULL:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, field, _shown(node), f"a map is needed, like '{example}'")
        own: _Map = {}
        merged: _Map = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for part in parts:
                    merged = {**self.map(part, field, example), **merged}
                    lines = {**self._key_lines.get(id(part), {}), **lines}
                continue
            name = self.text(key, field, example)
            if name in own:
                raise self.wrong(
                    key, field, name, f"it stands twice, first in line {lines[name]}; keep one"
                )
            own[name] = value
            lines[name] = self.line(key)
        self._key_lines[id(node)] = lines
        return merged | own

    def text(self, node: yaml.Node, field: str, example: str) -> str:
        """A scalar as it is written: `30` is "30", `yes` is "yes"; null is empty."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(node, field, _shown(node), f"a text is needed, like '{example}'")
        return "" if node.tag == _NULL else str(node.value)

    def _check_names(
        self, node: yaml.Node, fields: Iterable[str], known: tuple[str, ...], where: str
    ) -> None:
        for name in fields:
            if name in known or name.startswith("x-"):
                continue
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            line = self._key_lines[id(node)][name]
            self._warnings.append(
                f"{self._path}:{line}: {where} has an unknown field {name!r}, "
                f"which is ignored; {advice}"
            )

    def wrong(self, node: yaml.Node, field: str, value: str, advice: str) -> StackError:
        return StackError(f"{self._path}:{self.line(node)}: {field} is {value!r}: {advice}")

    def line(self, node: yaml.Node) -> int:
        return self._substituted.source_line(node.start_mark.line + 1)


class _Entry:
    """The fields of one function."""

    def __init__(self, reader: _Reader, name: str, fields: _Map) -> None:
        self._reader = reader
        self._prefix = f"functions.{name}." if name else ""
        self._fields = fields

    def text(self, field: str, example: str) -> str:
        node = self._fields.get(field)
        return self._reader.text(node, self._prefix + field, example) if node else ""

    def strings(self, field: str, example: str) -> dict[str, str]:
        node = self._fields.get(field)
        if node is None:
            return {}
        name = self._prefix + field
        entries = self._reader.map(node, name, example)
        return {
            key: self._reader.text(value, f"{name}.{key}", example)
            for key, value in entries.items()
        }

    def texts(self, field: str, example: str) -> tuple[str, ...]:
        node = self._fields.get(field)
        name = self._prefix + field
        if node is None or node.tag == _NULL:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            raise self._reader.wrong(
                node, name, _shown(node), f"a list is needed, like '{example}'"
            )
        return tuple(self._reader.text(item, name, example) for item in node.value)

    def truth(self, field: str) -> bool:
        text = self.text(field, "true").lower()
        if text not in _TRUE | _FALSE | {""}:
            raise self._reader.wrong(
                self._fields[field], self._prefix + field, text, "write 'true' or 'false'"
            )
        return text in _TRUE


def _where(error: yaml.MarkedYAMLError) -> yaml.Mark | None:
    # A quote that is never closed is noticed at the end of the file; the mistake is where it began.
    if error.context_mark and "end of stream" in (error.problem or ""):
        return error.context_mark
    return error.problem_mark or error.context_mark


def _shown(node: yaml.Node) -> str:
    match node:
        case yaml.ScalarNode():
            return str(node.value)
        case yaml.SequenceNode():
            return "[…]"
        case _:
            return "{…}"
