"""The brokers whose connectors are put under load: how each is filled, asked and restarted."""

import asyncio
import itertools
import os
from contextlib import asynccontextmanager

import nats
from pamqp.commands import Basic

NUMBERS = itertools.count()
UNSETTLED = 64
"""Events that a connector may have in hand, of which 16 run."""
_LIMITS = ("--max-in-flight", "16", "--max-unsettled", f"{UNSETTLED}")


class Load:
    """A topic of one broker's server; what follows is said of all that it is asked for."""

    broker = ""
    """The fixture of its server."""

    def __init__(self, server):
        self.server = server
        self.topic = f"LOAD-{os.getpid()}-{next(NUMBERS)}"

    async def prepare(self):
        """Have the topic there."""
        raise NotImplementedError

    async def publish(self, count):
        """Publish the numbers below it."""
        raise NotImplementedError

    def arguments(self, *more):
        """Of `faas-connector run`; what is given last counts."""
        raise NotImplementedError

    def outage(self, _number):
        """What it is told further in a round of outages of the broker."""
        return ()

    def patient(self):
        """What it is told further where nobody is killed."""
        return ()

    async def unsettled(self):
        """How many events are delivered and not acknowledged."""
        raise NotImplementedError

    async def left(self, events):
        """How many of so many events are not acknowledged."""
        raise NotImplementedError

    def forgets(self, _settled):
        """How many events a broker that is killed may deliver again, of those that are settled."""
        return 0


class Kafka(Load):
    broker = "kafka"

    async def prepare(self):
        await self.server.create(self.topic)

    async def publish(self, count):
        async with self.server.producer() as producer:
            bodies = (b"%d" % number for number in range(count))
            sent = [await producer.send(self.topic, body, key=body) for body in bodies]
            await asyncio.gather(*sent)
        self._published = count

    def arguments(self, *more):
        return (
            "kafka", "--brokers", self.server.url, "--topics", self.topic, "--group", self.topic,
            "--session-timeout", "2s", *_LIMITS, *more,
        )  # fmt: skip

    def outage(self, number):
        # It takes longer than that, and is connected to anew; or it is waited for.
        return "--session-timeout", ("1s", "30s")[number % 2]

    async def unsettled(self):
        return await self.left(self._published)

    async def left(self, events):
        return events - sum((await self.server.committed(self.topic)).values())


class RabbitMq(Load):
    broker = "rabbitmq"
    queue_type = "classic"

    async def prepare(self):
        arguments = {"x-queue-type": self.queue_type}
        async with self.server.channel() as channel:
            await channel.queue_declare(self.topic, durable=True, arguments=arguments)
        self.server.write_down()

    async def publish(self, count):
        async with self.server.channel() as channel:
            for number in range(count):
                await channel.basic_publish(
                    b"%d" % number, routing_key=self.topic,
                    properties=Basic.Properties(delivery_mode=2),
                )  # fmt: skip

    def arguments(self, *more):
        return "rabbitmq", "--url", self.server.url, "--queue", self.topic, *_LIMITS, *more

    async def unsettled(self):
        name = f"rabbit_misc:r(<<47>>, queue, list_to_binary({[*self.topic.encode()]}))"
        what = "messages_unacknowledged"
        return int(
            self.server.evaluate(
                f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), "
                f"proplists:get_value({what}, rabbit_amqqueue:info(Q, [{what}]))"
            )
        )

    async def left(self, _events):
        async with self.server.channel() as channel:
            return (await channel.queue_declare(self.topic, passive=True)).message_count

    def forgets(self, settled):
        # A classic queue keeps acknowledgements in memory for a while.
        return UNSETTLED + settled


class RabbitMqQuorum(RabbitMq):
    queue_type = "quorum"

    def forgets(self, _settled):
        return UNSETTLED


class JetStream(Load):
    broker = "nats_server"

    @asynccontextmanager
    async def connected(self):
        client = await nats.connect(self.server.url)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def prepare(self):
        async with self.connected() as jetstream:
            await jetstream.add_stream(name=self.topic, subjects=[self.topic])

    async def publish(self, count):
        async with self.connected() as jetstream:
            for number in range(count):
                await jetstream.publish(self.topic, b"%d" % number)

    def arguments(self, *more):
        return (
            "jetstream", "--url", self.server.url, "--stream", self.topic, "--durable", "load",
            "--ack-wait", "3s", "--batch", "16", *_LIMITS, *more,
        )  # fmt: skip

    def patient(self):
        return "--ack-wait", "30s"

    async def _info(self):
        async with self.connected() as jetstream:
            return await jetstream.consumer_info(self.topic, "load")

    async def unsettled(self):
        return (await self._info()).num_ack_pending

    async def left(self, _events):
        info = await self._info()
        return info.num_pending + info.num_ack_pending

    def forgets(self, settled):
        # The server writes acknowledgements down a little later.
        return UNSETTLED + settled


LOADS = {
    "kafka": Kafka, "classic": RabbitMq, "quorum": RabbitMqQuorum, "jetstream": JetStream,
}  # fmt: skip
