"""Header fields of what comes with a broker's message."""

from faas_connector.sources import fields as module
from faas_connector.sources.fields import field_name, fields


def test_a_long_name_is_made_and_not_remembered():
    before = module._remembered_name.cache_info().currsize
    for number in range(10):
        name = f"{number} " + "a" * 1000
        assert field_name("X-Acme-", name) == "X-Acme-" + name.replace(" ", "-")
    assert module._remembered_name.cache_info().currsize == before
    assert field_name("X-Acme-", "") == "X-Acme--"


def test_fields_of_a_message():
    made = fields("X-Acme-", {"Key": "k"}, [("trace id", "1"), ("key", "theirs")])
    assert made == {"X-Acme-Key": "k", "X-Acme-trace-id": "1"}
