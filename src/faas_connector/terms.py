"""What holds for one function: what it declares, over the configuration, under the ceilings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from faas_connector.annotations import BY_KEY, written
from faas_connector.config import ControllerConfig
from faas_connector.contract import AnnotationProblem, FunctionContract, Order, read_contract
from faas_connector.names import FunctionName, Invocation
from faas_connector.retry import RetryPolicy

Number = TypeVar("Number", int, float)

_DECLARES_NOTHING = FunctionContract(FunctionName(""))


class Terms(msgspec.Struct, frozen=True):
    """What holds for one function."""

    retry: RetryPolicy
    """How its failed calls are tried again; of an asynchronous one: how the queueing is."""
    timeout: float
    """Seconds one call may take."""
    cold_start_timeout: float
    """Seconds the first call may take of a function that sleeps or never answered."""
    concurrency: int
    """Calls that may run at a time."""
    order: Order
    """Whether events of one key come one after another."""
    mode: Invocation
    """The route of its calls."""
    dead_letter: bool
    """Whether its failed events are kept as dead letters."""


def terms_of(
    contract: FunctionContract | None, config: ControllerConfig, mode: Invocation | None = None
) -> Terms:
    """What holds for a function; `contract` is None for one that is not in the map.

    The ceilings of `config.limits` hold whoever said more. Only a cold start may take longer than
    `max_timeout`: no function can ask for that.

    Args:
        contract: what it declares.
        config: the connector's configuration.
        mode: for calls on this route, whatever is declared now; None for the declared one.
    """
    declared = contract or _DECLARES_NOTHING
    limits = config.limits
    mode = mode or declared.mode or config.invocation
    queued = mode is Invocation.ASYNC
    own = declared.timeout is not None
    timeout = _at_most(limits.max_timeout, declared.timeout or config.timeouts.call)
    concurrency = declared.concurrency or limits.concurrency or limits.max_in_flight
    return Terms(
        retry=_policy(_DECLARES_NOTHING if queued else declared, config),
        timeout=timeout,
        cold_start_timeout=timeout if own or queued else max(timeout, config.timeouts.cold_start),
        concurrency=min(limits.max_in_flight, _at_most(limits.max_concurrency, concurrency)),
        order=Order.NONE if queued else declared.order or Order.NONE,
        mode=mode,
        dead_letter=declared.dead_letter is not False,
    )


# The gateway's queue calls the function, and heeds what it declares on retries.
_OF_THE_QUEUE = {"retry_attempts", "retry_codes", "retry_min_wait", "retry_max_wait"}


def _is_queued(contract: FunctionContract, config: ControllerConfig) -> bool:
    return (contract.mode or config.invocation) is Invocation.ASYNC


def _policy(declared: FunctionContract, config: ControllerConfig) -> RetryPolicy:
    policy, limits = config.retry, config.limits
    least = policy.min_wait if declared.retry_min_wait is None else declared.retry_min_wait
    most = policy.max_wait if declared.retry_max_wait is None else declared.retry_max_wait
    if declared.retry_max_wait is None:
        most = max(least, most)  # a function that names only the least one means it
    most = _at_most(limits.max_wait, most)
    return RetryPolicy(
        attempts=_at_most(limits.max_attempts, declared.retry_attempts or policy.attempts),
        min_wait=min(least, most),
        max_wait=most,
        backoff=policy.backoff,
        codes=policy.codes if declared.retry_codes is None else declared.retry_codes,
        max_age=policy.max_age,
    )


def _at_most(ceiling: Number | None, value: Number) -> Number:
    return value if ceiling is None else min(ceiling, value)


_MIN_WAIT, _MAX_WAIT = "com.openfaas.retry.min_wait", "com.openfaas.retry.max_wait"
_ORDER = "faas-connector.order"
# Annotation -> the ceiling of `Limits` over it.
_CEILINGS = {
    "faas-connector.timeout": "max_timeout",
    "faas-connector.concurrency": "max_concurrency",
    "com.openfaas.retry.attempts": "max_attempts",
    _MIN_WAIT: "max_wait",
    _MAX_WAIT: "max_wait",
}
_RESTRICTED = {_ORDER, *_CEILINGS}


def declared_contract(
    name: FunctionName,
    annotations: Mapping[str, str],
    config: ControllerConfig,
    last: FunctionContract | None = None,
) -> FunctionContract:
    """What a function declares to this connector, with what is over a ceiling brought under it.

    Never fails: what is wrong, and what can't hold under this configuration, stands in `problems`.

    Args:
        name: the function.
        annotations: all its annotations.
        config: the connector's configuration.
        last: what held for the function before; see `read_contract`.
    """
    contract = read_contract(
        name, annotations, delimiter=config.topic_delimiter, matcher=config.matcher, last=last
    )
    if _RESTRICTED.isdisjoint(annotations):
        return contract
    changed: dict[str, Any] = {}
    problems = list(_restrictions(contract, annotations, config, changed))
    contract = msgspec.structs.replace(
        contract, **changed, problems=(*contract.problems, *problems)
    )
    lone = _lone_waits(contract, annotations, config)
    return msgspec.structs.replace(contract, problems=(*contract.problems, *lone))


def _restrictions(
    contract: FunctionContract,
    annotations: Mapping[str, str],
    config: ControllerConfig,
    changed: dict[str, Any],
) -> Iterator[AnnotationProblem]:
    """What the connector doesn't allow; what holds instead goes into `changed`."""
    queued = _is_queued(contract, config)
    if queued and contract.order is Order.KEY:
        changed["order"] = None
        what = "contradicts the connector's asynchronous calls, whose queue keeps no order"
        hint = "set faas-connector.mode to 'sync'"
        yield _problem(_ORDER, annotations, what, hint, "it has no effect")
    for key, limit in _CEILINGS.items():
        field = BY_KEY[key].field or ""
        value: float | None = getattr(contract, field)
        most: float | None = getattr(config.limits, limit)
        if value is None or most is None or value <= most or (queued and field in _OF_THE_QUEUE):
            continue
        changed[field] = most if isinstance(value, int) else float(most)
        what = f"is above the connector's limits.{limit}"
        held = written(changed[field])
        yield _problem(key, annotations, what, f"ask for {held} or less", f"it is {held}")


def _lone_waits(
    contract: FunctionContract, annotations: Mapping[str, str], config: ControllerConfig
) -> Iterator[AnnotationProblem]:
    """A wait that is declared alone moves the other one, which is the connector's."""
    wrong = {problem.key for problem in contract.problems}
    if _is_queued(contract, config) or wrong & {_MIN_WAIT, _MAX_WAIT}:
        return
    least, most, policy = contract.retry_min_wait, contract.retry_max_wait, config.retry
    holds = f"every wait is {written(terms_of(contract, config).retry.max_wait)}"
    if most is None and least is not None and least > policy.max_wait:
        what = f"is longer than the connector's longest wait of {written(float(policy.max_wait))}"
        yield _problem(_MIN_WAIT, annotations, what, f"declare {_MAX_WAIT} too", holds)
    if least is None and most is not None and most < policy.min_wait:
        what = f"is shorter than the connector's first wait of {written(float(policy.min_wait))}"
        yield _problem(_MAX_WAIT, annotations, what, f"declare {_MIN_WAIT} too", holds)


def _problem(
    key: str, annotations: Mapping[str, str], what: str, hint: str, holds: str
) -> AnnotationProblem:
    value = annotations[key]
    return AnnotationProblem(key, value, f"{what}, got {value!r}; {hint}", f"until then {holds}")
