"""aiohttp on uvloop, which posts to one function and reads its answer; no topics, no results."""

from __future__ import annotations

import argparse
import ssl

import aiohttp
import uvloop

from benchmarks.children.load import arguments, measure


async def run(options: argparse.Namespace) -> None:
    """Measure."""
    tls = ssl.create_default_context(cafile=options.ca) if options.ca else True
    url = f"{options.url}/function/{options.function}"
    body = b"x" * options.body
    connector = aiohttp.TCPConnector(limit=options.in_flight, ssl=tls)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call(number: int) -> None:
            headers = {"Content-Type": "text/plain", "X-Message-Id": str(number)}
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
                if response.status != 200:
                    raise RuntimeError(f"answered with {response.status}")

        await measure(call, options)


if __name__ == "__main__":
    uvloop.run(run(arguments("Measure aiohttp.").parse_args()))
