"""What is known of the gateway's functions: one bad answer loses nothing that was good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from faas_connector.contract import FunctionContract
from faas_connector.gateway.models import FunctionStatus
from faas_connector.names import FunctionName

Listing = Mapping[FunctionName, FunctionContract]

LISTS_BEFORE_FORGETTING = 2
"""A vanished function is remembered for at least this many further lists of its namespace."""


class Missing(msgspec.Struct, frozen=True):
    """A function that vanished from a good list."""

    contract: FunctionContract
    namespace: str
    since: float
    lists: int = 0
    """Good lists of its namespace since, without it."""


class Known(msgspec.Struct, frozen=True):
    """All that is known of the functions; `""` is the provider's default namespace."""

    listings: Mapping[str, Listing] = {}
    missing: Mapping[FunctionName, Missing] = {}
    doubted: frozenset[str] = frozenset()
    """Namespaces whose last list lost more than half of the functions at once."""


def learn(
    known: Known, fetched: Mapping[str, Listing | None], now: float, forget_after: float
) -> Known:
    """What is known after a refresh.

    A namespace that could not be fetched keeps its last good list. A list that loses more than
    half of its functions at once is believed when the next one loses them too. What vanished is
    missing until `forget_after` has passed and two further lists came without it.

    Args:
        known: before the refresh.
        fetched: per namespace its list, or None where fetching failed.
        now: seconds on any steady clock.
        forget_after: seconds.
    """
    listings: dict[str, Listing] = {}
    doubted: set[str] = set()
    # A namespace that is gone is one whose list has become empty.
    for namespace in known.listings.keys() | fetched.keys():
        before = known.listings.get(namespace)
        listing = fetched.get(namespace, {})
        if listing is None:
            if before is not None:
                listings[namespace] = before
            if namespace in known.doubted:
                doubted.add(namespace)
        elif before and namespace not in known.doubted and _loses_most(before, listing):
            listings[namespace] = {**before, **listing}
            doubted.add(namespace)
        elif listing or namespace in fetched:
            listings[namespace] = listing
    ordered = {name: listings[name] for name in [*fetched, *listings] if name in listings}
    missing = _missing(known, ordered, fetched, now, forget_after)
    return Known(ordered, missing, frozenset(doubted))


def _loses_most(before: Listing, after: Listing) -> bool:
    return 2 * len(before.keys() - after.keys()) > len(before)


def _missing(
    known: Known,
    listings: Mapping[str, Listing],
    fetched: Mapping[str, Listing | None],
    now: float,
    forget_after: float,
) -> dict[FunctionName, Missing]:
    present = {name for listing in listings.values() for name in listing}
    missing: dict[FunctionName, Missing] = {}
    for name, gone in known.missing.items():
        good = fetched.get(gone.namespace, {}) is not None
        lists = gone.lists + 1 if good else gone.lists
        forgotten = lists >= LISTS_BEFORE_FORGETTING and now - gone.since >= forget_after
        if name not in present and not forgotten:
            missing[name] = Missing(gone.contract, gone.namespace, gone.since, lists)
    for namespace, before in known.listings.items():
        if before is listings.get(namespace):
            continue
        for name, contract in before.items():
            if name not in present:
                missing[name] = Missing(contract, namespace, now)
    return missing


class Told(msgspec.Struct, frozen=True):
    """Which numbers this gateway's lists have told of any function so far.

    A provider that doesn't count says nothing, which is also how a count of 0 is said (gateway
    contract, section 10).
    """

    replicas: bool = False
    available: bool = False

    def and_by(self, statuses: Iterable[FunctionStatus]) -> Told:
        """What it has told after one more list."""
        if self.available:
            return self
        return Told(
            self.replicas or any(status.replicas for status in statuses),
            any(status.available_replicas for status in statuses),
        )

    def is_asleep(self, status: FunctionStatus) -> bool:
        """Whether a function has no replica that could answer."""
        if self.available:
            return not status.available_replicas
        return self.replicas and not status.replicas
