"""Flags made from the options of settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from faas_connector.settings.definition import Option
from faas_connector.settings.describing import written
from faas_connector.settings.kinds import Choice, Kind, Several, Truth

_MAIN = "Options"


class Flag(click.Option):
    """A flag that stands under a heading of `--help`."""

    def __init__(self, declarations: Sequence[str], section: str, **more: Any) -> None:
        super().__init__(declarations, **more)
        self.section = section


class Flagged(click.Command):
    """Shows the flags under their headings, those of settings last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a part for each heading, in the order of the flags."""
        self.write_flags(ctx, formatter)

    def write_flags(
        self,
        ctx: click.Context,
        formatter: click.HelpFormatter,
        only: frozenset[str] | None = None,
    ) -> None:
        """Write the flags, of those of settings `only` some parameters."""
        parts: dict[str, list[tuple[str, str]]] = {_MAIN: []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is None:
                continue
            if not isinstance(param, Flag):
                parts[_MAIN].append(record)
            elif only is None or param.name in only:
                parts.setdefault(param.section if only is None else _MAIN, []).append(record)
        for section, rows in parts.items():
            with formatter.section(section.capitalize()):
                formatter.write_dl(rows)


def flags(options: Iterable[Option], section: str) -> list[click.Parameter]:
    """A flag for each option that has one."""
    return [_flag(option, option.flag, section) for option in options if option.flag]


def given(options: Iterable[Option], params: Mapping[str, Any]) -> dict[str, str | Sequence[str]]:
    """What flags were given, as text: flag without dashes -> text, or texts."""
    found: dict[str, str | Sequence[str]] = {}
    for option in options:
        value = params.get(parameter(option.flag or ""))
        if isinstance(value, bool):
            found[option.flag or ""] = written(value)
        elif value is not None and value != ():
            found[option.flag or ""] = value
    return found


def parameter(flag: str) -> str:
    """The name that a flag's value has."""
    return "setting_" + flag.replace("-", "_")


def _flag(option: Option, flag: str, section: str) -> click.Parameter:
    kind = option.kind
    default = written(option.default, kind)
    text = option.help + (f"  [{default}]" if default and not isinstance(kind, Truth) else "")
    if isinstance(kind, Truth):
        names = [f"--{flag}/--no-{flag}", parameter(flag)]
        return Flag(names, section, default=None, is_flag=True, help=text)
    return Flag(
        [f"--{flag}", parameter(flag)],
        section,
        metavar=option.metavar or _metavar(kind),
        help=text,
        multiple=isinstance(kind, Several),
    )


def _metavar(kind: Kind) -> str:
    if isinstance(kind, Choice):
        return "|".join(name for name, _ in kind.values)
    if isinstance(kind, Several):
        return f"{kind.item.word or 'VALUE'},…"
    return kind.word or "VALUE"
