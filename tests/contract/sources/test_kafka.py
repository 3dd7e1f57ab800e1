"""Kafka keeps the contract of sources, with Apache Kafka itself."""

import itertools
import os

import pytest

from faas_connector.sources.kafka import KafkaSource
from faas_connector.testing.source_contract import SourceContract, Subject

NUMBERS = itertools.count()


class TestKafka(SourceContract):
    quiet = 0.4
    header_prefix = "X-Kafka-"
    library = "aiokafka"
    pip_line = "pip install 'faas-connector[kafka]'"

    @pytest.fixture
    async def subject(self, kafka):
        topic = f"contract-{os.getpid()}-{next(NUMBERS)}"
        await kafka.create(topic)
        source = KafkaSource(
            brokers=(kafka.url,), topics=(topic,), group=topic, session_timeout=2.0,
            rebalance_wait=0.3,
        )  # fmt: skip
        async with kafka.producer() as producer:

            async def publish(event):
                headers = [(name, value.encode()) for name, value in event.headers.items()]
                key = None if event.key is None else event.key.encode()
                await producer.send_and_wait(topic, event.data, key=key, headers=headers)

            yield Subject(
                source=source,
                publish=publish,
                topic=topic,
                interrupt=lambda: kafka.expel(topic),
                unreachable=KafkaSource(
                    brokers=("127.0.0.1:1",), topics=(topic,), user="me", password="hush-hush"
                ),
                address="127.0.0.1:1",
                password="hush-hush",
            )
