"""What holds for one function: what it declares, over the configuration, under the ceilings."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from faas_connector.config import ControllerConfig
from faas_connector.contract import FunctionContract, Order
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


def terms_of(contract: FunctionContract | None, config: ControllerConfig) -> Terms:
    """What holds for a function; `contract` is None for one that is not in the map.

    The ceilings of `config.limits` hold whoever said more. Only a cold start may take longer than
    `max_timeout`: no function can ask for that.
    """
    declared = contract or _DECLARES_NOTHING
    limits = config.limits
    mode = declared.mode or config.invocation
    queued = mode is Invocation.ASYNC
    own = declared.timeout is not None
    timeout = _at_most(limits.max_timeout, declared.timeout or config.timeouts.call)
    concurrency = declared.concurrency or limits.concurrency or limits.max_in_flight
    return Terms(
        # The gateway's queue calls the function, and heeds what it declares on retries.
        retry=_policy(_DECLARES_NOTHING if queued else declared, config),
        timeout=timeout,
        cold_start_timeout=timeout if own or queued else max(timeout, config.timeouts.cold_start),
        concurrency=min(limits.max_in_flight, _at_most(limits.max_concurrency, concurrency)),
        order=Order.NONE if queued else declared.order or Order.NONE,
        mode=mode,
        dead_letter=declared.dead_letter is not False,
    )


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
