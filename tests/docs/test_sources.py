"""What the pages of sources over HTTP show can be sent, and their table of providers be set."""

import asyncio
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import yaml

from faas_connector import Controller, ControllerConfig
from faas_connector.serving.listener import Port
from faas_connector.sources.webhook import CloudEventsSource, WebhookSource
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import LocalFunction, LocalGateway

PAGES = Path(__file__).parents[2] / "docs" / "sources"
WEBHOOK = (PAGES / "webhook.md").read_text()
CLOUDEVENTS = (PAGES / "cloudevents.md").read_text()


def shell(page, number):
    """Of the blocks that send something, one."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "curl " in block][number]


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl: apt-get install curl")
@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl: apt-get install openssl")
@pytest.mark.parametrize(
    ("make", "commands", "topic", "count"),
    [
        (
            partial(WebhookSource, topics=("payment.received",), durable=True),
            shell(WEBHOOK, 0), "payment.received", 1,
        ),
        (
            partial(
                WebhookSource, signature="github", secret="hush", topic_header="X-GitHub-Event",
                topic_prefix="github.",
            ),
            shell(WEBHOOK, 1), "github.issues", 1,
        ),
        (partial(CloudEventsSource, durable=True), shell(CLOUDEVENTS, 0), "payment.received", 2),
    ],
    ids=["webhook", "signed", "cloudevents"],
)  # fmt: skip
async def test_what_is_sent_by_hand_is_taken(make, commands, topic, count):
    port = Port("127.0.0.1", 0)
    source = make(listen=f"127.0.0.1:{port.number}")
    function = LocalFunction(name="one", annotations={"topic": topic})
    async with LocalGateway(functions=[function]) as gateway:
        async with Controller(ControllerConfig(gateway_url=gateway.url)) as controller:
            run = asyncio.create_task(controller.run(source, store=MemoryStore()))
            commands = commands.replace("127.0.0.1:9000", f"127.0.0.1:{port.number}")
            said = await in_shell(
                commands.replace("curl -i", "curl -s -i --retry 9 --retry-connrefused")
            )
            assert said.count("HTTP/1.1 202 Accepted") == count, said
            await gateway.wait_received(count)
            controller.stop()
            assert await run
    port.close()


async def in_shell(commands):
    process = await asyncio.create_subprocess_exec(
        "sh", "-e", "-c", commands, stdout=asyncio.subprocess.PIPE, env={"SECRET": "hush",
        "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode()


PROVIDERS = re.findall(r"^\| (.+?) \| (?:no HMAC[^`]*)?(`.+`.*) \|$", WEBHOOK, re.MULTILINE)
PROVIDERS = [(name, text) for name, text in PROVIDERS if "_header: " in text and "POST" not in text]


@pytest.mark.parametrize(("name", "text"), PROVIDERS, ids=[name for name, _ in PROVIDERS])
def test_the_settings_of_a_provider(name, text, tmp_path):
    file = tmp_path / "secret"
    file.write_text("aHVzaA==")
    settings = {}
    for line in re.findall(r"`([a-z_]+: [^`]+)`", text):
        settings |= yaml.safe_load(line)
    if settings.pop("token_file", None):
        settings["token"] = "hush"
    else:
        settings |= {"signature": "hmac", "secret": "aHVzaA=="}
    source = WebhookSource(topics=("orders",), listen="0.0.0.0:9000", **settings)
    assert source.traits


def test_there_are_a_dozen_providers():
    assert len(PROVIDERS) >= 12
