"""List the licences of all that a plain install brings, and refuse one that isn't permissive."""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement

PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation", re.IGNORECASE)


def main() -> int:
    needed: dict[str, Distribution] = {}
    collect("faas-connector", needed)
    del needed["faas-connector"]
    licences = {name: licence(found) for name, found in sorted(needed.items())}
    for name, text in licences.items():
        print(f"{name:<12} {needed[name].version:<10} {text}")
    refused = [name for name, text in licences.items() if not PERMISSIVE.search(text)]
    if refused:
        print(f"not permissive: {', '.join(refused)}", file=sys.stderr)
    return 1 if refused else 0


def collect(name: str, needed: dict[str, Distribution]) -> None:
    """Add the distribution and what it requires without extras, all the way down."""
    if name in needed:
        return
    needed[name] = distribution(name)
    for text in needed[name].requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            collect(requirement.name, needed)


def licence(found: Distribution) -> str:
    """What the distribution says of its licence, in one line."""
    fields = found.metadata
    classified = [
        value.rsplit(" :: ", 1)[-1]
        for value in fields.get_all("Classifier") or ()
        if value.startswith("License ::")
    ]
    text = fields.get("License-Expression") or ", ".join(classified) or fields.get("License", "")
    return " ".join(text.split())[:60] or "unknown"


if __name__ == "__main__":
    sys.exit(main())
