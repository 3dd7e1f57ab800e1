"""The contract that every source keeps, against a Redis of its own."""

import itertools
import subprocess
import time

import pytest
from faas_connector_redis import RedisStreamSource
from redis.asyncio import Redis

from faas_connector.testing.source_contract import SourceContract, Subject

KEYS = (f"contract-{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    """Where a server listens that is ended with the tests; a socket needs no free port."""
    path = tmp_path_factory.mktemp("redis") / "socket"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=path.parent) as server:
        deadline = time.monotonic() + 10
        while not path.exists():
            assert server.poll() is None, "redis-server has ended"
            assert time.monotonic() < deadline, "redis-server does not listen"
            time.sleep(0.01)
        yield f"unix://{path}"
        server.terminate()


class TestRedisStream(SourceContract):
    header_prefix = "X-Redis-Field-"
    quiet = 0.3  # more than a read waits, and less than `min_idle`

    @pytest.fixture
    async def subject(self, url):
        key = next(KEYS)

        async def publish(event):
            async with Redis.from_url(url) as redis:
                await redis.xadd(key, {**event.headers, "body": event.data})

        async def cut():
            async with Redis.from_url(url) as redis:
                await redis.client_kill_filter(_type="normal", skipme=True)

        return Subject(
            source=RedisStreamSource(url=url, stream=key, min_idle=0.6),
            publish=publish,
            topic=key,
            interrupt=cut,
            unreachable=RedisStreamSource(
                url="redis://127.0.0.1:1", stream=key, user="me", password="hush-hush"
            ),
            address="127.0.0.1:1",
            password="hush-hush",
        )
