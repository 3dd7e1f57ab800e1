"""Which annotations of a stack.yaml are wrong, and in which line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faas_connector.contract import FunctionContract, read_contract
from faas_connector.local.stack import Stack, StackFunction
from faas_connector.local.stack_nodes import Mistake
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName


@dataclass(frozen=True, slots=True)
class Lint:
    """What was found in a stack file."""

    contracts: tuple[FunctionContract, ...]
    findings: tuple[Mistake, ...]
    """In the order of the lines."""


def lint_stack(
    stack: Stack, mistakes: Sequence[Mistake] = (), *, delimiter: str = ",", matcher: TopicMatcher
) -> Lint:
    """Read every function's annotations as a connector would.

    Args:
        stack: what could be read.
        mistakes: what could not.
        delimiter: between the topics of an annotation.
        matcher: the dialect of their patterns.
    """
    contracts: list[FunctionContract] = []
    findings = [*mistakes, *stack.warnings]
    for function in stack.functions:
        contract = read_contract(
            FunctionName(function.name, function.namespace),
            function.annotations,
            delimiter=delimiter,
            matcher=matcher,
        )
        contracts.append(contract)
        findings += [
            Mistake(str(stack.path), _line(function, problem.key), f"{function.name}: {problem}")
            for problem in contract.problems
        ]
    return Lint(tuple(contracts), tuple(sorted(findings)))


def _line(function: StackFunction, key: str) -> int:
    for field in (f"annotations.{key}", "annotations", "name"):
        if field in function.lines:
            return function.lines[field]
    return 1


def summary(contracts: Sequence[FunctionContract]) -> str:
    """How many functions there are, and how many of them ask for topics."""
    asking = sum(1 for contract in contracts if contract.topics)
    return f"{count(len(contracts), 'function')}, of which {asking} ask for topics"


def count(number: int, noun: str) -> str:
    """`1 function`, `2 functions`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
