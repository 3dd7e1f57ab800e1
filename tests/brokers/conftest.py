"""The brokers, each started once."""

import pytest
import trustme


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    pytest.importorskip("aiokafka", reason="pip install 'faas-connector[kafka]'")
    from servers.kafka import KafkaServer

    with KafkaServer(tmp_path_factory.mktemp("kafka"), trustme.CA()) as server:
        yield server
