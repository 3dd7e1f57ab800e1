"""RabbitMQ keeps the contract of sources: classic and quorum queues of the real server."""

import itertools
import os

import pytest
from pamqp.commands import Basic

from faas_connector.sources.rabbitmq import RabbitMqSource
from faas_connector.testing import FaultProxy
from faas_connector.testing.source_contract import SourceContract, Subject

NUMBERS = itertools.count()
PASSWORD = "hush-hush"


class RabbitMqContract(SourceContract):
    header_prefix = "X-Rabbitmq-Header-"
    library = "aiormq"
    pip_line = "pip install 'faas-connector[rabbitmq]'"
    queue_type = "classic"

    @pytest.fixture
    async def subject(self, rabbitmq):
        queue = f"contract-{os.getpid()}-{next(NUMBERS)}"
        async with FaultProxy(rabbitmq.host, rabbitmq.port) as proxy:
            source = RabbitMqSource(
                url=f"amqp://{proxy.host}:{proxy.port}", queues=(queue,),
                queue_type=self.queue_type,
            )  # fmt: skip
            quorum = {"x-queue-type": "quorum"} if self.queue_type == "quorum" else {}
            async with rabbitmq.channel() as channel:
                await channel.queue_declare(queue, durable=True, arguments=quorum)

                async def publish(event):
                    properties = Basic.Properties(headers=dict(event.headers), message_id=event.id)
                    await channel.basic_publish(
                        event.data, routing_key=queue, properties=properties
                    )

                yield Subject(
                    source=source,
                    publish=publish,
                    topic=queue,
                    interrupt=proxy.cut,
                    unreachable=RabbitMqSource(
                        url="amqp://127.0.0.1:1", queues=(queue,), user="me", password=PASSWORD
                    ),
                    address="127.0.0.1:1",
                    password=PASSWORD,
                )
                await channel.queue_delete(queue)


class TestClassic(RabbitMqContract):
    pass


class TestQuorum(RabbitMqContract):
    queue_type = "quorum"
    quiet = 0.4
