"""Write the parts of docs/ that come from the code; with --check only tell which are out of date.

Such a part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import dedent

from faas_connector import ControllerConfig, InvokerResponse, Limits, Timeouts, errors
from faas_connector.annotations import ANNOTATIONS
from faas_connector.annotations import written as written_as
from faas_connector.observability.definitions import METRICS
from faas_connector.retry import RetryPolicy
from faas_connector.settings.connector import connector_options
from faas_connector.settings.definition import Option
from faas_connector.settings.describing import written as as_text
from faas_connector.settings.sources import (
    load_source,
    scope_options,
    source_kinds,
    source_options,
)

DOCS = Path(__file__).parent.parent / "docs"
PART = re.compile(r"(?<=<!-- generated: )([a-z-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

BAR = r"\|"  # a bar inside a cell

# Who acts on an annotation; the connector on all others.
READERS = {
    "schedule": "the cron source",
    "com.openfaas.queue": "the gateway; it is checked",
    "faas-connector.local.url": "the local gateway",
}


def main(arguments: list[str]) -> int:
    outdated = {path: text for path in sorted(DOCS.rglob("*.md")) if (text := renewed(path))}
    for path, text in outdated.items():
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(DOCS)}: {'out of date' if '--check' in arguments else 'written'}")
    return 1 if outdated and "--check" in arguments else 0


def renewed(path: Path) -> str | None:
    """What the file should hold; None where it does."""
    text = path.read_text(encoding="utf-8")
    new = PART.sub(lambda part: f"{part[1]}{part[2]}{PARTS[part[1]]()}\n", text)
    return None if new == text else new


def annotation_table() -> str:
    rows = [
        (
            f"`{each.key}`",
            each.meaning,
            f"`{each.example}`",
            "" if each.strict is None else f"`{written_as(each.strict)}`",
            READERS.get(each.key, "the connector"),
        )
        for each in ANNOTATIONS
    ]
    head = ("annotation", "what it says", "example", "if wrong", "who acts on it")
    return table(head, rows)


def options(settings: type) -> str:
    rows = [
        (f"`{name}`", f"`{default}`", meaning or f"see `{default.rstrip('()')}` below")
        for name, default, meaning in described_fields(settings)
    ]
    return table(("option", "default", "what it says"), rows)


def general_settings(section: str) -> str:
    """The options of one section of connector.yaml."""
    return settings_table([each for each in connector_options() if each.path[0] == section], 1)


def source_settings(kind: str) -> str:
    """The options of a kind of source."""
    return settings_table(source_options(kind, load_source(kind)), 0, kind)


def settings_table(found: Sequence[Option], depth: int, source: str = "") -> str:
    rows = [
        (
            f"`{'.'.join(each.path[depth:]) or each.name}`",
            f"`--{each.flag}`" if each.flag else "",
            ", ".join(f"`{name}`" for name in variables(each, source)),
            f"`{text}`" if (text := as_text(each.default, each.kind)) else "",
            each.help,
        )
        for each in found
    ]
    return table(("option", "flag", "variable", "default", "what it says"), rows)


def variables(option: Option, source: str) -> list[str]:
    return [option.variable(source), *(each.name for each in option.foreign)]


def metric_table() -> str:
    rows = [
        (
            f"`{each.name}`",
            each.type.value,
            ", ".join(f"`{name}`" for name in each.labels),
            each.help,
        )
        for each in METRICS
    ]
    return table(("metric", "type", "labels", "what it says"), rows)


def response_fields() -> str:
    rows = [(f"`{name}`", meaning) for name, _, meaning in described_fields(InvokerResponse)]
    properties = [
        (f"`{name}`", (inspect.getdoc(member) or "").splitlines()[0])
        for name, member in vars(InvokerResponse).items()
        if isinstance(member, property)
    ]
    return table(("field", "what it says"), rows + properties)


def error_tree() -> str:
    tree = re.search(
        r"^    ConnectorError\n.*?(?=^$)", errors.__doc__ or "", re.DOTALL | re.MULTILINE
    )
    return f"```text\n{dedent(tree[0]).strip()}\n```" if tree else ""


def described_fields(described: type) -> list[tuple[str, str, str]]:
    """Name, default as it is written, and the docstring under each field of a class."""
    (definition,) = ast.parse(dedent(inspect.getsource(described))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found: list[tuple[str, str, str]] = []
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found.append((statement.target.id, written(statement.value), docstring(after)))
    return found


def written(default: ast.expr | None) -> str:
    if isinstance(default, ast.Call) and default.keywords:  # field(default=…), option(default=…)
        default = default.keywords[0].value
    if isinstance(default, ast.JoinedStr):
        return '"faas-connector/VERSION"'
    return "" if default is None else ast.unparse(default).replace("'", '"')


def docstring(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(map(row, [head, ("---",) * len(head), *rows]))


def row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


PARTS: dict[str, Callable[[], str]] = {
    "annotations": annotation_table,
    "controller-config": lambda: options(ControllerConfig),
    "timeouts": lambda: options(Timeouts),
    "limits": lambda: options(Limits),
    "retry-policy": lambda: options(RetryPolicy),
    "response": response_fields,
    "errors": error_tree,
    "settings-source": lambda: settings_table(scope_options(), 0, "NAME"),
    **{f"source-{kind}": partial(source_settings, kind) for kind in source_kinds()},
    "metrics": metric_table,
    **{
        f"settings-{section}": partial(general_settings, section)
        for section in dict.fromkeys(each.path[0] for each in connector_options())
    },
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
