"""What the tests of brokers share."""

import pytest

from .harness import repeated


@pytest.fixture
def repeats(record_property):
    """Which events came more than once; how many is kept in the report, as of JUnit."""

    def found(gateway):
        numbers = repeated(gateway)
        record_property("repeated", len(numbers))
        return numbers

    return found
