"""What the topic map learns from a gateway on the wire."""

import pytest

from faas_connector.config import ControllerConfig
from faas_connector.discovery import TopicMapBuilder
from faas_connector.errors import GatewayAuthError
from faas_connector.gateway.client import GatewayClient
from faas_connector.local.definition import LocalFunction
from faas_connector.local.gateway import LocalGateway


async def test_functions_without_replicas_are_asleep():
    functions = [LocalFunction(name=name, annotations={"topic": "a"}) for name in ("f", "g")]
    async with LocalGateway(functions=functions) as gateway:
        config = ControllerConfig(gateway_url=gateway.url)
        async with GatewayClient(config) as client:
            builder = TopicMapBuilder(client, config)

            async def asleep():
                found = (await builder.refresh()).match("a")
                return {each.name.name: each.asleep for each in found}

            assert await asleep() == {"f": False, "g": False}
            gateway.scale("f", 0)
            assert await asleep() == {"f": True, "g": False}
            gateway.scale("g", 0)
            assert await asleep() == {"f": True, "g": True}
            gateway.scale("f", 1)
            assert await asleep() == {"f": False, "g": True}


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer s3cret\r\nX-Evil: 1"}, {"Bad name": "s3cret"}, {"A": b"s3cret"}],
)
async def test_credentials_that_cannot_be_sent_are_a_matter_of_auth(headers):
    config = ControllerConfig(gateway_url="http://127.0.0.1:1", auth=lambda: headers)
    async with GatewayClient(config) as client:
        with pytest.raises(GatewayAuthError, match=r"^auth failed to give credentials") as caught:
            await TopicMapBuilder(client, config).refresh()
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).isprintable()
